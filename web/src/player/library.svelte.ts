// Tracks by id, fetched in batches when something shows or plays them.
import { SvelteMap } from "svelte/reactivity";
import { catalogue } from "$lib/api/clients";
import type { Kbps } from "$lib/engine/frames";
import { qualities } from "$lib/engine/frames";
import type { Track } from "$lib/gen/segue/metadata/v1/catalogue_pb";

const batch = 200;

class Library {
  private readonly known = new SvelteMap<string, Track | null>();
  private wanted = new Set<string>();
  private timer: ReturnType<typeof setTimeout> | undefined;

  /** undefined: not known yet; null: not there. */
  get(id: string): Track | null | undefined {
    return this.known.get(id);
  }

  put(tracks: readonly Track[]): void {
    for (const t of tracks) this.known.set(t.id, t);
  }

  /** Fetches what is not known. */
  want(ids: readonly string[]): void {
    for (const id of ids) if (!this.known.has(id)) this.wanted.add(id);
    if (this.wanted.size > 0) this.timer ??= setTimeout(() => void this.fetch(), 20);
  }

  private async fetch(): Promise<void> {
    this.timer = undefined;
    const ids = [...this.wanted].slice(0, batch);
    for (const id of ids) this.wanted.delete(id);
    try {
      const { tracks } = await catalogue.getTracks({ ids });
      const found = new Map(tracks.map((t) => [t.id, t]));
      for (const id of ids) this.known.set(id, found.get(id) ?? null);
    } catch {
      // Whoever shows them asks again.
    }
    if (this.wanted.size > 0) this.want([...this.wanted]);
  }

  /** What the track can be played in, as far as is known. */
  available(id: string): Kbps[] {
    const kbps = this.known.get(id)?.renditions.map((r) => r.kbps) ?? [];
    return qualities.filter((q) => kbps.includes(q));
  }
}

export const library = new Library();

/** "A & B feat. C", joined as the label prints it. */
export function artistText(credits: readonly { artist?: { name: string }; join: string; role: string }[]): string {
  const shown = credits.filter((c) => c.role === "" || c.role === "main" || c.role === "featured");
  const list = shown.length > 0 ? shown : credits;
  return list
    .map((c, i) => (c.artist?.name ?? "") + (i < list.length - 1 ? c.join || ", " : ""))
    .join("");
}

/** 1:02 or 1:02:03. */
export function clock(ms: number | bigint): string {
  const s = Math.max(0, Math.floor(Number(ms) / 1000));
  const two = (n: number) => String(n).padStart(2, "0");
  const h = Math.floor(s / 3600);
  return h > 0 ? `${h}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}` : `${Math.floor(s / 60)}:${two(s % 60)}`;
}

export const artUrl = (id: string, size: 160 | 320 | 640) => `/artwork/${encodeURIComponent(id)}/${size}`;
