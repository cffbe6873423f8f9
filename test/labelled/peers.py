"""Asks other programs for tempo and key of the pieces of a folder.

usage: peers.py DIR...   prints tool, folder, name, bpm, key, mode, CPU seconds as CSV; a
field that a tool does not tell is empty. Tools that are not installed are left out.
"""
import csv
import pathlib
import shutil
import statistics
import subprocess
import sys
import time
import wave

import numpy


def pcm(path):
    """The mean of the channels as floats, and the rate."""
    with wave.open(str(path)) as f:
        samples = numpy.frombuffer(f.readframes(f.getnframes()), "<i2").reshape(-1, f.getnchannels())
        return (samples.mean(1) / 32768).astype("float32"), f.getframerate()


def tools():
    """Functions from a file and its samples to (bpm, key, mode)."""
    out = {}
    try:
        import librosa

        def of_librosa(_, x, rate):
            x = librosa.resample(x, orig_sr=rate, target_sr=22050)
            return float(numpy.atleast_1d(librosa.beat.beat_track(y=x, sr=22050)[0])[0]), "", ""

        out["librosa beat_track"] = of_librosa
    except ImportError:
        pass
    try:
        import essentia
        import essentia.standard as es

        essentia.log.infoActive = essentia.log.warningActive = False
        for method in "multifeature", "degara":
            out[f"essentia {method}"] = lambda _, x, rate, m=method: (float(es.RhythmExtractor2013(method=m)(x)[0]), "", "")
        for profile in "krumhansl", "temperley", "edma":
            out[f"essentia {profile}"] = lambda _, x, rate, p=profile: ("", *es.KeyExtractor(profileType=p)(x)[:2])
    except ImportError:
        pass
    if shutil.which("aubio"):

        def of_aubio(path, *_):
            told = subprocess.run(["aubio", "beat", str(path)], capture_output=True, text=True, check=True).stdout.split()
            at = [float(v) for v in told if v.replace(".", "", 1).isdigit()]
            gaps = [b - a for a, b in zip(at, at[1:])]
            return (60 / statistics.median(gaps) if gaps else "", "", "")

        out["aubio, median interval"] = of_aubio
    if shutil.which("keyfinder-cli"):

        def of_keyfinder(path, *_):
            told = subprocess.run(["keyfinder-cli", str(path)], capture_output=True, text=True, check=True).stdout.strip()
            return "", told.rstrip("m"), "minor" if told.endswith("m") else "major"

        out["keyfinder"] = of_keyfinder
    return out


def cpu():
    """Processor time of this process and its children."""
    t = time.process_time()
    import resource

    r = resource.getrusage(resource.RUSAGE_CHILDREN)
    return t + r.ru_utime + r.ru_stime


def main():
    out = csv.writer(sys.stdout)
    found = tools()
    print("peers:", ", ".join(found), file=sys.stderr)
    for folder in map(pathlib.Path, sys.argv[1:]):
        for row in csv.DictReader(open(folder / "labels.csv")):
            path = folder / f"{row['name']}.wav"
            x, rate = pcm(path)
            for name, tool in found.items():
                began = cpu()
                told = tool(path, x, rate)
                out.writerow([name, folder, row["name"], *told, f"{cpu() - began:.3f}"])


main()
