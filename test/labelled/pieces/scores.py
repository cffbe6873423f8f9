"""Written music of music21's corpus."""

import re

from music21 import converter, corpus, harmony, key, note
from music21.exceptions21 import Music21Exception

from .render import PITCHES, SECONDS, Piece

# What a score may be broken in: they are old and many.
BROKEN = (Music21Exception, ValueError, AttributeError, IndexError, TypeError, ZeroDivisionError, KeyError)

MOVEMENTS = [
    ("mozart/k155/movement1", "D", "major", 120),
    ("mozart/k156/movement1", "G", "major", 150),
    ("mozart/k458/movement1", "Bb", "major", 132),
    ("mozart/k545/movement1_exposition", "C", "major", 126),
    ("haydn/opus74no1/movement1", "C", "major", 138),
    ("beethoven/opus18no1/movement1", "F", "major", 156),
    ("beethoven/opus59no1/movement1", "F", "major", 120),
    ("beethoven/opus59no2/movement1", "E", "minor", 112),
    ("schumann_robert/opus41no1/movement1", "A", "minor", 96),
    ("joplin/maple_leaf_rag", "Ab", "major", 100),
]
OTHERS = (
    "beethoven chopin corelli cpebach handel haydn johnson_j_r joplin josquin liliuokalani luca monteverdi mozart "
    "schubert schumann_clara schumann_robert trecento verdi weber"
).split()
ENSEMBLES = [[40, 40, 41, 42], [0] * 4, [48] * 4, [19] * 4, [6] * 4, [73, 71, 60, 70], [24] * 4, [52] * 4, [11, 24, 24, 32]]


def notes_of(rng, part, channel, velocity, late=0.008, length=0.95):
    """The notes of a part with the unevenness of a player."""
    for element in part.flatten().notes:
        if isinstance(element, harmony.ChordSymbol) or element.duration.isGrace:
            continue
        for pitch in [element.pitch] if isinstance(element, note.Note) else element.pitches:
            at = float(element.offset) + rng.gauss(0, late)
            yield at, float(element.quarterLength) * length, channel, pitch.midi, velocity + rng.randint(-8, 8)


def looped(notes, beats, bpm):
    """Notes again and again until the time is over."""
    return [(at + turn * beats, *rest) for turn in range(int(SECONDS * bpm / 60 / beats) + 1) for at, *rest in notes]


def movement(rng, score, name, bpm, ensemble, loop=False):
    """A score of up to four parts."""
    parts = list(score.parts)[:4]
    notes = [n for channel, part in enumerate(parts) for n in notes_of(rng, part, channel, rng.choice([76, 84, 90]))]
    if loop:
        notes = looped(notes, float(score.highestTime), bpm)
    return Piece(name, bpm, notes, {i: ensemble[i] for i in range(len(parts))})


def classical(rng):
    """Ten movements."""
    for i, (path, tonic, mode, bpm) in enumerate(MOVEMENTS):
        score = corpus.parse(path)
        piece = movement(rng, score, f"classical{i:02d}", bpm, [40, 40, 41, 42] if len(score.parts) >= 4 else [0] * 4)
        piece.key, piece.mode = tonic, mode
        yield piece


def final_key(score):
    """The key that an analysis of all notes finds, where the last bass note is its tonic."""
    found, last = score.analyze("key"), list(score.parts[-1].flatten().notes)
    if last and last[-1].pitches[0].pitchClass == found.tonic.pitchClass:
        return PITCHES[found.tonic.pitchClass], found.mode
    return "", ""


def chorales(rng):
    """Eight of Bach's chorales."""
    made = 0
    for number in rng.sample(range(1, 371), 80):
        if made == 8:
            return
        try:
            score = next(iter(corpus.chorales.Iterator(number, number, numberingSystem="riemenschneider")))
            tonic, mode = final_key(score)
        except (StopIteration, *BROKEN):
            continue
        if not tonic:
            continue
        piece = movement(
            rng, score, f"chorale{made:02d}", rng.choice([66, 72, 80, 88]), rng.choice([[52] * 4, [19] * 4, [48] * 4, [0] * 4]), True
        )
        piece.key, piece.mode = tonic, mode
        made += 1
        yield piece


def corpus_works(rng):
    """Works by others, and other works by those, at a tempo that nobody meant."""
    kept_out = [path.rsplit("/", 1)[0] if "movement" in path else path for path, *_ in MOVEMENTS]
    paths = [p.as_posix() for p in corpus.getCorePaths() if p.parts[-2] in OTHERS or p.parts[-3] in OTHERS]
    paths = sorted(p for p in paths if not any(k in p for k in kept_out))
    rng.shuffle(paths)
    made = 0
    for path in paths:
        if made == 80:
            return
        try:
            score = corpus.parse(path)
            if not getattr(score, "parts", None) or float(score.highestTime) < 48:
                continue
            bpm = round(min(176, max(58, 104 * 2 ** rng.gauss(0, 0.38))), 1)
            piece = movement(rng, score, f"corpus{made:02d}", bpm, rng.choice(ENSEMBLES), True)
            piece.key, piece.mode = final_key(score)
        except BROKEN:
            continue
        made += 1
        yield piece


# Beats of a metre: how many quarters one has, and how many there are.
METRES = {"C": (1, 4), "C|": (1, 4), "4/4": (1, 4), "2/4": (1, 2), "6/8": (1.5, 2), "3/4": (1, 3)}
SCALES = {"major": {0, 2, 4, 5, 7, 9, 11}, "minor": {0, 2, 3, 5, 7, 8, 10, 11}}
TRIADS = {"major": [[0, 4, 7], [5, 9, 12], [7, 11, 14]], "minor": [[0, 3, 7], [5, 8, 12], [7, 10, 14]]}


def fiddle(rng):
    """Eighteen tunes with an accompaniment."""
    paths = sorted(p for p in map(str, corpus.getCorePaths()) if "ryansMammoth" in p)
    rng.shuffle(paths)
    made = 0
    for path in paths:
        if made == 18:
            return
        piece = accompanied(rng, path, f"fiddle{made:02d}")
        if piece:
            made += 1
            yield piece


def accompanied(rng, path, name):
    """A tune with bass and chords, None where its key or metre is not plain."""
    with open(path, encoding="utf8", errors="ignore") as file:
        text = file.read()
    keyed, metre = re.search(r"^K:\s*([A-G][#b]?)\s*(\w*)", text, re.M), re.search(r"^M:\s*(\S+)", text, re.M)
    if not keyed or not metre or metre[1] not in METRES or keyed[2].lower()[:3] not in ("", "maj", "min", "m"):
        return None
    mode = "minor" if keyed[2].lower()[:3] in ("min", "m") else "major"
    try:
        score = converter.parse(path)
        beats = float(score.highestTime)
        tonic = key.Key(keyed[1]).tonic.pitchClass
        pitches = [p.pitchClass for p in score.pitches]
        tune = list(notes_of(rng, score, 2, 92))
    except BROKEN:
        return None
    outside = sum((p - tonic) % 12 not in SCALES[mode] for p in pitches)
    if beats < 24 or outside > 0.08 * len(pitches) or pitches[-1] != tonic:
        return None
    quarters, per_bar = METRES[metre[1]]
    notes = list(tune)
    for bar in range(int(beats / (quarters * per_bar))):
        notes += accompaniment(tune, bar, quarters, per_bar, tonic, TRIADS[mode])
    bpm = rng.choice([84, 92, 98, 104, 110, 116, 122, 128, 136]) * quarters
    programs = {0: rng.choice([24, 25, 0, 21]), 1: 32, 2: rng.choice([40, 73, 22, 21, 105])}
    return Piece(name, bpm, looped(notes, beats, bpm), programs, PITCHES[tonic], mode, quarters)


def accompaniment(tune, bar, quarters, per_bar, tonic, triads):
    """A bar of the triad that fits the tune best."""
    start, end = bar * quarters * per_bar, (bar + 1) * quarters * per_bar
    weight = [0.0] * 12
    for at, length, _, pitch, _ in tune:
        if start - 0.05 <= at < end - 0.05:
            weight[pitch % 12] += length
    best = max(triads, key=lambda t: sum(weight[(tonic + step) % 12] for step in t) + (0.2 if t is triads[0] else 0))
    for beat in range(per_bar):
        at = start + beat * quarters
        if beat % 2 == 0 and not (per_bar == 3 and beat):
            yield at, 0.6, 1, 36 + (tonic + best[0]) % 12, 96
        else:
            for step in best:
                yield at, 0.4, 0, 55 + (tonic + step - 7) % 12, 64
        yield at, 0.2, 9, 36 if beat % 2 == 0 else 37, 70
