// One play of one track: where its sound comes from, in which quality, and the change from one to another.
import type { DecoderMaker } from "./decoder";
import { type Kbps, Code, qualities } from "./frames";
import type { PlayFacts, TrackAsk } from "./messages";
import { adapt, startQuality } from "./quality";
import { ObjectChanged, RecordStream, Refused } from "./records";
import type { Session } from "./session";
import { type Block, PcmSource, tickRate } from "./source";

/** Sound asked for ahead of its turn. */
export const prefetchMs = 10_000;
/** A quality changes this much behind what is decoded, so that the other one has time to come. */
export const switchAhead = 5 * tickRate;
/** A seek this little forward is decoded through instead of asked for. */
const skipAhead = 8 * tickRate;
const msOf = (tick: number) => Math.floor((tick * 1000) / tickRate);

export interface Env {
  session: Session;
  maker: DecoderMaker;
  /** The listener's choice; 0 is auto. */
  wanted(): Kbps | 0;
  normalise(): boolean;
  /** Ticks behind what is decoded at which a quality changes. */
  switchAhead: number;
  changed(play: Play, from: Kbps, to: Kbps): void;
}

interface Change {
  source: PcmSource;
  kbps: Kbps;
  at: number;
  primed: boolean;
}

export class Play {
  readonly facts: PlayFacts;
  private source: PcmSource;
  private change: Change | null = null;
  private gain = 1;
  private available: Kbps[];
  private refusedChanges = 0;

  constructor(
    private readonly env: Env,
    play: number,
    readonly track: TrackAsk,
    fromMs: number,
    ready: RecordStream | null,
    headMs: number,
  ) {
    this.available = [...track.available];
    const kbps = ready?.request.kbps ?? startQuality(this.conditions());
    const records = ready ?? this.ask(kbps, fromMs, headMs);
    if (ready && headMs === 0) ready.extend();
    this.source = new PcmSource(env.session, env.maker, records, Math.round((fromMs * tickRate) / 1000));
    this.facts = {
      play,
      playId: records.playId,
      trackId: track.trackId,
      kbps,
      transport: null,
      startMs: 0,
      prefetched: ready !== null || headMs > 0,
      heard: 0,
      written: 0,
      total: 0,
      missing: 0,
      gainDb: 0,
    };
  }

  get aheadSeconds(): number {
    return this.source.records.aheadSeconds;
  }

  get received(): boolean {
    return this.source.records.complete;
  }

  /** A prefetched head becomes the whole track. */
  extend(): void {
    this.source.records.extend();
  }

  close(): void {
    this.source.close();
    this.change?.source.close();
    this.change = null;
  }

  /** The next stretch of sound with its loudness set; null at the end of the track. */
  async next(): Promise<Block | null> {
    for (;;) {
      this.considerSwitch();
      try {
        const block = await this.source.next();
        this.learn();
        if (block) return this.level(block);
        if (!this.finishSwitch()) return null;
      } catch (e) {
        if (!this.retry(e)) throw e;
      }
    }
  }

  /** Sound from another position; true when it is near enough to need no new request. */
  seek(tick: number): boolean {
    this.change?.source.close();
    this.change = null;
    const at = this.source.position;
    const held = at + this.aheadSeconds * tickRate;
    if (tick >= at && tick < Math.min(held, at + skipAhead)) {
      this.source.skipTo(tick);
      return true;
    }
    this.replace(tick, this.facts.kbps);
    return false;
  }

  private conditions() {
    const s = this.env.session;
    return {
      wanted: this.env.wanted(),
      maxKbps: s.maxKbps,
      available: this.available,
      throughputKbps: s.meter.kbps,
    };
  }

  private ask(kbps: Kbps, fromMs: number, headMs: number): RecordStream {
    return new RecordStream(this.env.session, { trackId: this.track.trackId, kbps, fromMs, headMs });
  }

  private replace(tick: number, kbps: Kbps): void {
    this.source.close();
    this.source = new PcmSource(this.env.session, this.env.maker, this.ask(kbps, msOf(tick), 0), tick);
    this.setKbps(kbps);
  }

  private setKbps(kbps: Kbps): void {
    const from = this.facts.kbps;
    this.facts.kbps = kbps;
    if (from !== kbps) this.env.changed(this, from, kbps);
  }

  private learn(): void {
    const { head, kind } = this.source.records;
    if (!head) return;
    this.facts.transport = kind;
    this.facts.total = this.source.totalTicks;
    this.facts.missing = this.source.missing;
    // Loudness is levelled, but never beyond what keeps the peak under full scale.
    const db = this.env.normalise() ? Math.min(head.gainTrackDb, Math.max(0, -head.peakDb)) : 0;
    this.facts.gainDb = db;
    this.gain = 10 ** (db / 20);
  }

  private level(b: Block): Block {
    if (this.gain === 1) return b;
    const scaled = (plane: Float32Array) => plane.map((x) => x * this.gain) as Float32Array<ArrayBuffer>;
    const left = scaled(b.left);
    return { tick: b.tick, left, right: b.right === b.left ? left : scaled(b.right) };
  }

  /** Starts, or completes, a change of quality. */
  private considerSwitch(): void {
    const c = this.change;
    if (c) {
      if (!c.primed) {
        if (this.source.position + tickRate / 4 > c.at) this.dropChange();
        return;
      }
      this.source.cutAt(c.at);
      return;
    }
    const left = this.facts.total - this.source.position;
    if (this.facts.total === 0 || left < 2 * this.env.switchAhead || this.refusedChanges > 2) return;
    const to = adapt(this.conditions(), this.facts.kbps, this.aheadSeconds, this.received);
    if (to === null) return;
    const at = this.source.position + this.env.switchAhead;
    const source = new PcmSource(this.env.session, this.env.maker, this.ask(to, msOf(at), 0), at);
    const change: Change = { source, kbps: to, at, primed: false };
    this.change = change;
    source.prime().then(
      () => (change.primed = true),
      () => this.change === change && this.dropChange(),
    );
  }

  private dropChange(): void {
    this.refusedChanges++;
    this.change?.source.close();
    this.change = null;
  }

  /** The old quality reached the switch: the new one goes on with the very next sample. */
  private finishSwitch(): boolean {
    const c = this.change;
    if (!c || !c.primed || this.source.position < c.at) return false;
    this.source.close();
    this.source = c.source;
    this.change = null;
    this.refusedChanges = 0;
    this.setKbps(c.kbps);
    return true;
  }

  /** Errors that another request mends. */
  private retry(e: unknown): boolean {
    const tick = this.source.position;
    if (e instanceof ObjectChanged) {
      this.replace(tick, this.facts.kbps);
      return true;
    }
    if (e instanceof Refused && e.code === Code.qualityUnavailable) {
      const known = this.available.length > 0 ? this.available : [...qualities];
      this.available = known.filter((q) => q !== this.facts.kbps);
      if (this.available.length === 0) return false;
      this.replace(tick, startQuality(this.conditions()));
      return true;
    }
    return false;
  }
}
