// The cover of what has no picture: initials on a colour, always the same for one name.

export interface DrawnCover {
  initials: string;
  /** Degrees on the OKLCH circle. */
  hue: number;
}

const filler = new Set(["the", "a", "an", "of", "and", "for", "der", "die", "das", "le", "la", "les"]);

/** drawCover is null for a name without a letter or a digit. */
export function drawCover(name: string): DrawnCover | null {
  const words = name.match(/[\p{L}\p{N}]+/gu) ?? [];
  if (words.length === 0) return null;
  const telling = words.filter((w) => !filler.has(w.toLowerCase()));
  const initials = (telling.length > 0 ? telling : words)
    .slice(0, 2)
    .map((w) => [...w][0]!.toUpperCase())
    .join("");
  // FNV-1a, 32 bits.
  let hash = 0x811c9dc5;
  for (const c of name.normalize("NFC").toLowerCase()) {
    hash = Math.imul(hash ^ c.codePointAt(0)!, 0x01000193) >>> 0;
  }
  return { initials, hue: hash % 360 };
}
