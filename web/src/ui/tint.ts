// A cover's hue and chroma, measured on the server; null: no colour worth showing.
import type { Artwork } from "$lib/gen/segue/metadata/v1/catalogue_pb";

export function tint(art: Artwork | undefined): { h: string; c: string } | null {
  if (!art || art.accentChromaMilli === 0) return null;
  return { h: String(art.accentHue), c: String(art.accentChromaMilli / 1000) };
}
