// What analysis tells of a track's sound, for a person.
import type { AudioFeatures } from "$lib/gen/segue/metadata/v1/catalogue_pb";

const tonics = ["C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B"];

/** Like "124 BPM · A minor (8A)", without what could not be told. */
export function soundText(f: AudioFeatures | undefined): string {
  return f ? [tempoText(f), keyText(f)].filter(Boolean).join(" · ") : "";
}

function tempoText(f: AudioFeatures): string {
  return f.bpm === undefined ? "" : `${Math.round(f.bpm)} BPM`;
}

function keyText(f: AudioFeatures): string {
  const tonic = f.key === undefined ? undefined : tonics[f.key];
  return tonic === undefined ? "" : `${tonic} ${f.minor ? "minor" : "major"} (${camelot(f.key!, f.minor)})`;
}

/** The code on the wheel by which disc jockeys mix: C major is 8B, a fifth up is one further, A minor is 8A. */
function camelot(tonic: number, minor: boolean): string {
  const major = minor ? tonic + 3 : tonic;
  return `${((7 + major * 7) % 12) + 1}${minor ? "A" : "B"}`;
}
