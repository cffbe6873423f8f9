"""A band: drums, bass, chords and a tune over a progression that goes on."""

from .render import PITCHES, SECONDS, Piece

SCALES = {"major": [0, 2, 4, 5, 7, 9, 11], "minor": [0, 2, 3, 5, 7, 8, 10]}
PROGRESSIONS = {
    "major": [[0, 5, 3, 4], [0, 4, 5, 3], [0, 3, 4, 4], [5, 3, 0, 4], [0, 3, 0, 4], [1, 4, 0, 0]],
    "minor": [[0, 5, 2, 6], [0, 3, 4, 0], [0, 6, 5, 6], [0, 5, 3, 4], [0, 2, 6, 3]],
}
TEMPI = {
    "rock": (95, 150),
    "four": (118, 140),
    "funk": (90, 118),
    "shuffle": (90, 140),
    "ballad": (60, 82),
    "dnb": (165, 178),
    "hiphop": (78, 98),
    "waltz": (90, 170),
}
CHORDS = {
    "four": [0.5, 1.5, 2.5, 3.5],
    "funk": [0, 0.75, 1.5, 2.75, 3.5],
    "waltz": [1, 2],
    "ballad": [0, 2],
    "dnb": [0],
    "hiphop": [0, 1.75],
}
BASS = {
    "four": [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5],
    "funk": [0, 0.5, 1.75, 2.5, 3.25],
    "waltz": [0],
    "dnb": [0, 1.5, 2.5],
    "ballad": [0, 2],
    "hiphop": [0, 0.75, 2.5],
    "shuffle": [0, 0.667, 1, 1.667, 2, 2.667, 3, 3.667],
}
KICK, SNARE, CLAP, HAT, OPEN, RIDE = 36, 38, 39, 42, 46, 51


def eighths(drum, n=8, step=0.5):
    """A drum that goes through."""
    return [(i * step, drum) for i in range(n)]


BACKBEAT = [(1, SNARE), (3, SNARE)]
DRUMS = {
    "rock": [(0, KICK), (2, KICK), *BACKBEAT, *eighths(HAT)],
    "ballad": [(0, KICK), (2, KICK), *BACKBEAT, *eighths(HAT)],
    "four": [*eighths(KICK, 4, 1), (1, CLAP), (3, CLAP), *[(i + 0.5, OPEN) for i in range(4)], *eighths(HAT, 16, 0.25)],
    "funk": [(0, KICK), (0.75, KICK), (2.5, KICK), *BACKBEAT, (1.75, SNARE), *eighths(HAT, 16, 0.25)],
    "shuffle": [(0, KICK), (2, KICK), *BACKBEAT, *eighths(RIDE, 4, 1), *[(i + 0.667, RIDE) for i in range(4)]],
    "dnb": [(0, KICK), (2.5, KICK), *BACKBEAT, *eighths(HAT), (1.75, SNARE), (2.25, SNARE)],
    "hiphop": [(0, KICK), (0.75, KICK), (2.5, KICK), *BACKBEAT, *eighths(HAT)],
    "waltz": [(0, KICK), (1, HAT), (2, HAT)],
}


def pieces(rng):
    """One piece in each of the 24 keys."""
    keys = [(tonic, mode) for tonic in range(12) for mode in SCALES]
    rng.shuffle(keys)
    for i, (tonic, mode) in enumerate(keys):
        style = list(TEMPI)[i % len(TEMPI)]
        yield play(rng, f"band{i:02d}_{style}", style, round(rng.uniform(*TEMPI[style]), 1), tonic, mode)


def play(rng, name, style, bpm, tonic, mode):
    """One piece of a style."""
    scale, progression = SCALES[mode], rng.choice(PROGRESSIONS[mode])
    per_bar = 3 if style == "waltz" else 4
    notes = []

    def late():
        return max(-0.03, min(0.03, rng.gauss(0, 0.008)))

    def pitch(degree):
        return 48 + tonic + scale[degree % 7] + 12 * (degree // 7)

    for bar in range(int(SECONDS * bpm / 60 / per_bar) + 1):
        start, degree = bar * per_bar, progression[bar % len(progression)]
        chord = [pitch(degree), pitch(degree + 2), pitch(degree + 4)]
        if mode == "minor" and degree == 4:
            chord[1] += 1  # the dominant of harmonic minor
        for at in CHORDS.get(style, [0, 1, 2, 3]):
            for p in chord:
                length = 2 if style in ("ballad", "dnb") else 0.9
                notes.append((start + at + late(), length, 0, p + (12 if p < 52 else 0), rng.randint(55, 75)))
        for at in BASS.get(style, [0, 1, 2, 2.5, 3]):
            low = pitch(degree) - (24 if pitch(degree) > 55 else 12)
            notes.append((start + at + late(), 0.45, 1, low, rng.randint(85, 105)))
        if bar >= 2:
            notes += tune(rng, start, per_bar, chord, pitch, late)
        notes += drums(rng, style, bar, start, late)
    programs = {0: rng.choice([0, 4, 24, 27, 48, 89]), 1: rng.choice([32, 33, 34, 38]), 2: rng.choice([56, 65, 73, 80, 40, 26, 11])}
    return Piece(name, bpm, notes, programs, PITCHES[tonic], mode)


def tune(rng, start, per_bar, chord, pitch, late):
    """A bar of melody, with notes of the chord on the beats."""
    at = 0.0
    while at < per_bar:
        length = min(rng.choice([0.5, 0.5, 1, 1, 1.5, 0.25]), per_bar - at)
        if rng.random() < 0.8:
            p = rng.choice(chord) if at == int(at) else pitch(rng.randint(0, 9))
            yield start + at + late(), length * 0.9, 2, p + (24 if p < 60 else 12), rng.randint(70, 100)
        at += length


def drums(rng, style, bar, start, late):
    """A bar of drums; each fourth group of eight bars rests but for the hat."""
    hits = DRUMS[style]
    if bar // 8 % 4 == 3:
        hits = [] if style == "waltz" else eighths(HAT, 4, 1)
    elif style in ("rock", "ballad") and rng.random() < 0.5:
        hits = [*hits, (2.5, KICK)]
    for at, drum in hits:
        velocity = rng.randint(60, 80) if drum in (HAT, OPEN, RIDE) else rng.randint(90, 115)
        yield start + at + late() * 0.5, 0.2, 9, drum, velocity
