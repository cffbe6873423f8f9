"""From notes to sound."""

import csv
import dataclasses
import os
import subprocess

import mido

SECONDS = 60.0
TICKS = 480
PITCHES = ["C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B"]


@dataclasses.dataclass
class Piece:
    """Notes are (beat, length in beats, channel, pitch, velocity). The tempo is of quarters."""

    name: str
    bpm: float
    notes: list
    programs: dict
    key: str = ""
    mode: str = ""
    # beat is how many quarters a beat has.
    beat: float = 1.0

    def label(self, group):
        """A line of labels.csv."""
        return self.name, group, round(self.bpm / self.beat, 2), self.key, self.mode

    def midi(self, folder):
        """Writes the piece as MIDI."""
        file, track = mido.MidiFile(ticks_per_beat=TICKS), mido.MidiTrack()
        file.tracks.append(track)
        track.append(mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(self.bpm), time=0))
        for channel, program in self.programs.items():
            track.append(mido.Message("program_change", channel=channel, program=program, time=0))
        events = []
        for at, length, channel, pitch, velocity in self.notes:
            if at >= SECONDS * self.bpm / 60 or not 0 < pitch < 128:
                continue
            begin = max(0, int(at * TICKS))
            end = max(begin + 10, int((at + length) * TICKS) - 4)
            velocity = min(127, max(1, velocity))
            events += [(begin, 1, channel, pitch, velocity), (end, 0, channel, pitch, 0)]
        last = 0
        for at, on, channel, pitch, velocity in sorted(events, key=lambda e: e[:2]):
            kind = "note_on" if on else "note_off"
            track.append(mido.Message(kind, channel=channel, note=pitch, velocity=velocity, time=at - last))
            last = at
        file.save(folder / f"{self.name}.mid")


def sound(folder, name, soundfont):
    """Renders NAME.mid unless NAME.wav is there."""
    wav, raw = folder / f"{name}.wav", folder / f"{name}.raw.wav"
    if wav.exists():
        return
    quiet = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(["fluidsynth", "-niq", "-g", "0.7", "-r", "44100", "-F", raw, soundfont, folder / f"{name}.mid"], **quiet)
    subprocess.run(["ffmpeg", "-nostdin", "-y", "-i", raw, "-t", str(SECONDS), "-c:a", "pcm_s16le", wav], **quiet)
    os.remove(raw)


def tell(folder, labels):
    """Writes labels.csv."""
    with open(folder / "labels.csv", "w", newline="", encoding="utf8") as file:
        out = csv.writer(file)
        out.writerow(["name", "group", "bpm", "key", "mode"])
        out.writerows(labels)
