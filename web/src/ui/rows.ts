// What a track list shows of a track: small, since there may be 20,000.
import { type Artwork, type Track, TrackState } from "$lib/gen/segue/metadata/v1/catalogue_pb";
import { artistText } from "$lib/player/library.svelte";

export interface Row {
  id: string;
  number: string;
  title: string;
  artists: string;
  albumId: string;
  album: string;
  durationMs: number;
  /** Whether it can be asked for: what is still being prepared is then made first. */
  playable: boolean;
  /** Whether its sound is there. */
  ready: boolean;
  explicit: boolean;
  /** Why it cannot be played, for a person. */
  note: string;
  art: Artwork | undefined;
}

export function rowOf(t: Track, discs = false): Row {
  const ready = t.state === TrackState.PLAYABLE || t.state === TrackState.COMPLETE;
  return {
    id: t.id,
    number: t.number === 0 ? "" : discs && t.disc > 0 ? `${t.disc}-${t.number}` : String(t.number),
    title: t.title,
    artists: artistText(t.credits),
    albumId: t.albumId,
    album: t.albumTitle,
    durationMs: Number(t.durationMs),
    playable: t.state !== TrackState.FAILED,
    ready,
    explicit: t.availability?.explicit ?? false,
    note: ready ? "" : t.state === TrackState.FAILED ? t.failure || "Could not be read" : "Being prepared",
    art: t.artwork,
  };
}
