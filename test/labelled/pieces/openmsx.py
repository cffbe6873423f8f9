"""Game music by OpenMSX, as it is."""

import pathlib
import re

import mido

MOST = 14


def pieces(folder, source):
    """The first files in which one tempo holds for 95 %."""
    labels = []
    for path in sorted(pathlib.Path(source).rglob("*.mid")):
        if len(labels) == MOST:
            break
        bpm, file = tempo(path)
        if bpm:
            name = "msx_" + re.sub(r"\W+", "_", path.stem).strip("_")[:24]
            file.save(folder / f"{name}.mid")
            labels.append((name, "openmsx", round(bpm, 2), "", ""))
    return labels


def tempo(path):
    """The tempo of a file, None where it changes or the file is none."""
    try:
        file = mido.MidiFile(path)
    except (OSError, ValueError, EOFError):
        return None, None
    changes, end = [], 0
    for track in file.tracks:
        at = 0
        for message in track:
            at += message.time
            if message.type == "set_tempo":
                changes.append((at, message.tempo))
        end = max(end, at)
    lengths = {}
    changes.sort()
    for (begin, value), (until, _) in zip(changes, changes[1:] + [(end, 0)]):
        lengths[value] = lengths.get(value, 0) + until - begin
    longest = max(lengths, key=lengths.get, default=None)
    if not longest or lengths[longest] < 0.95 * end:
        return None, None
    return mido.tempo2bpm(longest), file
