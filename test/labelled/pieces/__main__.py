"""Makes pieces of music whose tempo and key are known: MIDI, rendered by fluidsynth.

usage: python -m pieces [--groups a,b] [--seed N] [--soundfont FILE] [--openmsx FOLDER] FOLDER

FOLDER gets NAME.wav (44.1 kHz, 16 bit, stereo, up to 60 s) and labels.csv (name, group, bpm,
key, mode; key and mode are empty where they are not known). One seed makes one set. Needs
fluidsynth, ffmpeg, music21 and mido.

    band       drums, bass, chords and a tune over common progressions, in every key
    fiddle     tunes of Ryan's Mammoth Collection; the key is that of their header
    classical  ten movements, at a tempo of the edition's kind
    chorale    eight of Bach's, whose key is that of their last note
    openmsx    game music by OpenMSX, where one tempo holds for 95 %; the same for all seeds
    corpus     80 other works at any tempo, to fit to and not to measure with
"""

import argparse
import pathlib
import random
import warnings

from . import band, openmsx, render, scores

GROUPS = {
    "band": band.pieces,
    "fiddle": scores.fiddle,
    "classical": scores.classical,
    "chorale": scores.chorales,
    "corpus": scores.corpus_works,
}


def main():
    """Makes what the arguments ask for."""
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--groups", default="band,fiddle,classical,chorale,openmsx")
    args.add_argument("--seed", type=int, default=101)
    args.add_argument("--soundfont", default="/usr/share/sounds/sf2/FluidR3_GM.sf2")
    args.add_argument("--openmsx", default="/usr/share/games/openttd/baseset/openmsx", help="folder of its MIDI files")
    args.add_argument("folder", type=pathlib.Path)
    args = args.parse_args()
    warnings.filterwarnings("ignore", module="music21")
    args.folder.mkdir(parents=True, exist_ok=True)
    labels = []
    for group in args.groups.split(","):
        if group == "openmsx":
            labels += openmsx.pieces(args.folder, args.openmsx)
            continue
        for piece in GROUPS[group](random.Random(f"{args.seed} {group}")):
            piece.midi(args.folder)
            labels.append(piece.label(group))
    for name, *_ in labels:
        render.sound(args.folder, name, args.soundfont)
    render.tell(args.folder, labels)
    print(len(labels), "pieces in", args.folder)


main()
