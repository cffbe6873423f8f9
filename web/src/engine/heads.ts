// The first seconds of tracks that may be wanted soon, fetched ahead: a start from here needs no network.
import type { Kbps } from "./frames";
import { RecordStream } from "./records";
import type { Session } from "./session";

const headMs = 2_000;
const most = 5;

/** What fetching ahead came to: heads asked for, heads that were played, bytes of those that were not. */
export interface HeadCount {
  asked: number;
  used: number;
  wasted: number;
}

export class Heads {
  readonly count: HeadCount = { asked: 0, used: 0, wasted: 0 };
  private held = new Map<string, RecordStream>();

  /** Holds the heads of these tracks, and forgets others. The first ones matter most. */
  want(session: Session, tracks: { trackId: string; kbps: Kbps }[]): void {
    const wanted = new Map(tracks.slice(0, most).map((t) => [keyOf(t.trackId, t.kbps), t]));
    for (const [key, stream] of this.held) {
      if (wanted.has(key)) continue;
      this.waste(stream);
      this.held.delete(key);
    }
    for (const [key, t] of wanted) {
      if (this.held.has(key)) continue;
      const stream = new RecordStream(session, { ...t, fromMs: 0, headMs });
      this.held.set(key, stream);
      this.count.asked++;
      // A head that cannot be had is no failure: the play itself will say why.
      stream.ready().catch(() => this.held.get(key) === stream && this.held.delete(key));
    }
  }

  /** Takes a head out, if it has arrived, at whatever quality it was fetched. */
  take(trackId: string): RecordStream | null {
    for (const [key, stream] of this.held) {
      if (stream.request.trackId !== trackId || !stream.head) continue;
      this.held.delete(key);
      this.count.used++;
      return stream;
    }
    return null;
  }

  clear(): void {
    for (const stream of this.held.values()) this.waste(stream);
    this.held.clear();
  }

  private waste(stream: RecordStream): void {
    this.count.wasted += stream.bytes;
    stream.close();
  }
}

const keyOf = (trackId: string, kbps: Kbps) => `${trackId}/${kbps}`;
