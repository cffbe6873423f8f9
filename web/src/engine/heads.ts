// The first seconds of tracks that may be wanted soon, fetched ahead: a start from here needs no network.
import type { Kbps } from "./frames";
import { RecordStream } from "./records";
import type { Session } from "./session";

const headMs = 2_000;
const most = 5;

export class Heads {
  private held = new Map<string, RecordStream>();

  /** Holds the heads of these tracks, and forgets others. The first ones matter most. */
  want(session: Session, tracks: { trackId: string; kbps: Kbps }[]): void {
    const wanted = new Map(tracks.slice(0, most).map((t) => [keyOf(t.trackId, t.kbps), t]));
    for (const [key, stream] of this.held) {
      if (wanted.has(key)) continue;
      stream.close();
      this.held.delete(key);
    }
    for (const [key, t] of wanted) {
      if (this.held.has(key)) continue;
      const stream = new RecordStream(session, { ...t, fromMs: 0, headMs });
      this.held.set(key, stream);
      // A head that cannot be had is no failure: the play itself will say why.
      stream.ready().catch(() => this.held.get(key) === stream && this.held.delete(key));
    }
  }

  /** Takes a head out, if it has arrived, at whatever quality it was fetched. */
  take(trackId: string): RecordStream | null {
    for (const [key, stream] of this.held) {
      if (stream.request.trackId !== trackId || !stream.head) continue;
      this.held.delete(key);
      return stream;
    }
    return null;
  }

  clear(): void {
    for (const stream of this.held.values()) stream.close();
    this.held.clear();
  }
}

const keyOf = (trackId: string, kbps: Kbps) => `${trackId}/${kbps}`;
