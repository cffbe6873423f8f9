// The streaming core: fills the ring with the current play, then the next, and tells what is heard.
import type { DecoderMaker } from "./decoder";
import type { Kbps } from "./frames";
import { Heads } from "./heads";
import type { FromWorker, PlayFacts, TrackAsk } from "./messages";
import { type Env, Play, prefetchMs, switchAhead } from "./play";
import { startQuality } from "./quality";
import { Refused } from "./records";
import { distance } from "./ring";
import type { RingWriter } from "./ring-writer";
import type { Session } from "./session";
import { type Block, tickRate } from "./source";
import { Timeline } from "./timeline";
import { Code, codeName } from "./frames";
import { HttpFailure, Unreachable } from "./transport";

/** Decoded this far ahead of the ear. Less than half of the ring: a flush never has to wait. */
const ahead = Math.floor(2.5 * tickRate);
const blockFrames = 4096;
/** The next track's head is asked for when this much of the current one is safe. */
const safeSeconds = 5;

const now = () => performance.timeOrigin + performance.now();
const delay = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

export interface Options {
  quality: Kbps | 0;
  normalise: boolean;
}

export class Core {
  private current: Play | null = null;
  private following: { play: number; track: TrackAsk; ready: Play | null } | null = null;
  /** Plays whose sound is in the ring or was; by their number. */
  private readonly plays = new Map<number, PlayFacts>();
  private readonly timeline: Timeline;
  private readonly heads = new Heads();
  private options: Options = { quality: 0, normalise: true };
  private generation = 0;
  private flushPending = false;
  private heardPlay: number | null = null;
  /** The audible play was replaced before its end. */
  private replaced = false;
  private clickedAt = 0;
  private awaitingFirst: "load" | "seek" | null = null;
  private running = false;
  private endedPlay: number | null = null;
  private waiting = false;

  constructor(
    private readonly session: Session,
    private readonly maker: DecoderMaker,
    private readonly ring: RingWriter,
    private readonly emit: (m: FromWorker) => void,
  ) {
    // A core before this one may have left sound in the ring.
    this.timeline = new Timeline(ring.state().write);
    this.clear();
  }

  setOptions(o: Options): void {
    // What was fetched ahead in another quality is not what the listener asks for now.
    if (o.quality !== this.options.quality) {
      this.heads.clear();
      this.following?.ready?.close();
      if (this.following) this.following.ready = null;
    }
    this.options = o;
  }

  setRunning(on: boolean): void {
    this.running = on;
    this.ring.setRunning(on);
  }

  /** Plays a track at once; its sound replaces what is in the ring. */
  load(play: number, track: TrackAsk, fromMs: number, running: boolean, clickedAt: number): void {
    this.settle();
    const next = this.following;
    const ready = next?.ready && next.track.trackId === track.trackId && fromMs === 0 ? next.ready : null;
    if (!ready) next?.ready?.close();
    this.following = null;
    this.current?.close();
    if (ready) {
      ready.facts.play = play;
      ready.extend();
      this.current = ready;
    } else {
      const head = fromMs === 0 ? this.heads.take(track.trackId) : null;
      this.current = new Play(this.env(), play, track, fromMs, head, 0);
    }
    for (const other of this.plays.keys()) if (other !== this.heardPlay) this.plays.delete(other);
    this.plays.set(play, this.current.facts);
    this.emit({ t: "loading", play, playId: this.current.facts.playId });
    this.replaced = this.heardPlay !== null;
    this.clear();
    this.clickedAt = clickedAt;
    this.awaitingFirst = "load";
    this.setRunning(running);
    void this.pump(++this.generation);
  }

  /** What follows the current track without a gap. */
  setNext(play: number, track: TrackAsk | null): void {
    if (this.following && track && this.following.track.trackId === track.trackId) {
      this.following.play = play;
      if (this.following.ready) this.following.ready.facts.play = play;
      return;
    }
    this.following?.ready?.close();
    this.following = track ? { play, track, ready: null } : null;
    this.takeBack();
  }

  setHeads(tracks: TrackAsk[]): void {
    const s = this.session;
    this.heads.want(
      s,
      tracks.map((t) => ({
        trackId: t.trackId,
        kbps: startQuality({
          wanted: this.options.quality,
          maxKbps: s.maxKbps,
          available: t.available,
          throughputKbps: s.meter.kbps,
        }),
      })),
    );
  }

  seek(play: number, toMs: number, clickedAt: number): void {
    if (!this.current) return;
    this.settle();
    // The sound may already have run into the next track while the ear is in this one.
    if (this.current.facts.play !== play) {
      const facts = this.plays.get(play);
      if (facts) this.load(play, { trackId: facts.trackId, available: [] }, toMs, this.running, clickedAt);
      return;
    }
    const tick = Math.round((toMs * tickRate) / 1000);
    this.current.seek(this.current.facts.total > 0 ? Math.min(tick, this.current.facts.total - 1) : tick);
    this.clear();
    this.clickedAt = clickedAt;
    this.awaitingFirst = "seek";
    void this.pump(++this.generation);
  }

  stop(): void {
    this.generation++;
    this.settle();
    this.current?.close();
    this.following?.ready?.close();
    this.current = null;
    this.following = null;
    this.heads.clear();
    this.clear();
    this.setRunning(false);
    this.leave(false);
  }

  /** Looks at the reader: what was heard, what is audible now, whether the end was reached. */
  poll(): void {
    this.settle();
    const here = this.timeline.now();
    const facts = here && this.plays.get(here.play);
    // Until the reader stands past its first frame a play is not heard.
    if (facts && here.play !== this.heardPlay && this.ring.state().read !== this.timeline.startOf(here.play)) {
      this.leave(true);
      this.heardPlay = here.play;
      this.emit({ t: "audible", facts: { ...facts }, tick: here.tick });
    }
    if (this.endedPlay !== null && this.ring.buffered() === 0 && !this.flushPending) {
      const play = this.endedPlay;
      this.endedPlay = null;
      this.leave(true);
      this.emit({ t: "ended", play });
    }
  }

  status(): Extract<FromWorker, { t: "status" }> {
    const here = this.timeline.now();
    const facts = here ? this.plays.get(here.play) : this.current?.facts;
    const same = here && here.play === this.current?.facts.play;
    return {
      t: "status",
      facts: facts ? { ...facts } : null,
      tick: here?.tick ?? 0,
      at: now(),
      running: this.running,
      waiting: this.waiting,
      aheadSeconds: this.ring.buffered() / tickRate + (same ? (this.current?.aheadSeconds ?? 0) : 0),
      underruns: this.ring.state().underruns,
      throughputKbps: Math.round(this.session.meter.kbps),
      webtransport: false,
      bytes: 0,
      heads: { ...this.heads.count },
    };
  }

  private env(): Env {
    return {
      session: this.session,
      maker: this.maker,
      wanted: () => this.options.quality,
      normalise: () => this.options.normalise,
      switchAhead,
      changed: (p, from, to) => this.emit({ t: "quality", facts: { ...p.facts }, from, to }),
    };
  }

  private clear(): void {
    this.ring.flush();
    this.flushPending = true;
    this.ring.setEnded(false);
    this.endedPlay = null;
  }

  /** Brings the timeline up to where the reader is. */
  private settle(): void {
    const s = this.ring.state();
    if (this.flushPending) {
      if (!s.flushed) return;
      this.flushPending = false;
      this.count(this.timeline.flushed(s.readAtFlush, s.flushTo));
      if (this.replaced) this.leave(false);
      this.replaced = false;
    }
    this.count(this.timeline.advance(s.read));
  }

  private count(heard: { play: number; frames: number }[]): void {
    for (const h of heard) {
      const facts = this.plays.get(h.play);
      if (facts) facts.heard += h.frames;
    }
  }

  /** The play that was audible is over. */
  private leave(finished: boolean): void {
    const facts = this.heardPlay === null ? undefined : this.plays.get(this.heardPlay);
    this.heardPlay = null;
    if (!facts) return;
    this.plays.delete(facts.play);
    this.emit({ t: "gone", facts: { ...facts }, finished });
  }

  /** Another track follows than the one whose sound is already in the ring behind the current one. */
  private takeBack(): void {
    this.settle();
    const early = this.current;
    if (!early) return;
    const before = this.timeline.before(early.facts.play);
    const start = this.timeline.startOf(early.facts.play);
    const s = this.ring.state();
    const margin = tickRate / 4;
    if (before === null || start === null || distance(s.flushed ? s.read : s.flushTo, start) < margin) return;
    this.ring.rewind(start);
    this.timeline.drop(early.facts.play);
    this.plays.delete(early.facts.play);
    early.close();
    this.current = null;
    this.ring.setEnded(false);
    this.endedPlay = null;
    void this.pump(++this.generation, before);
  }

  /** The one loop that writes to the ring. last: the play after which the following one comes. */
  private async pump(generation: number, last?: number): Promise<void> {
    const mine = () => generation === this.generation;
    let before = last ?? null;
    while (mine()) {
      const play = this.current ?? this.advance();
      if (!play) {
        if (before !== null && this.endedPlay === null) this.finish(before);
        await delay(100);
        // Ended for the ear too: what comes next is a load().
        if (mine() && this.endedPlay === null) return;
        continue;
      }
      try {
        this.waiting = this.ring.buffered() === 0;
        const block = await play.next();
        if (!mine()) return;
        if (block) await this.write(play, block, mine);
        else {
          before = play.facts.play;
          this.current = null;
          this.prefetch(true);
        }
      } catch (e) {
        if (mine()) this.fail(play, e);
        return;
      } finally {
        if (mine()) this.waiting = false;
      }
    }
  }

  private finish(play: number): void {
    this.ring.setEnded(true);
    this.endedPlay = play;
  }

  private advance(): Play | null {
    this.prefetch(true);
    const next = this.following;
    if (!next?.ready) return null;
    this.following = null;
    this.current = next.ready;
    this.current.extend();
    this.plays.set(next.play, this.current.facts);
    this.ring.setEnded(false);
    this.endedPlay = null;
    return this.current;
  }

  private prefetch(now: boolean): void {
    const next = this.following;
    if (!next || next.ready) return;
    const safe = this.current && (this.current.aheadSeconds > safeSeconds || this.current.received);
    if (!now && !safe) return;
    const head = this.heads.take(next.track.trackId);
    next.ready = new Play(this.env(), next.play, next.track, 0, head, prefetchMs);
  }

  private async write(play: Play, block: Block, mine: () => boolean): Promise<void> {
    for (let at = 0; at < block.left.length; at += blockFrames) {
      while (mine() && (this.ring.buffered() >= ahead || this.ring.space() < blockFrames)) {
        this.prefetch(false);
        await delay(this.awaitingFirst ? 5 : 100);
      }
      if (!mine()) return;
      const left = block.left.subarray(at, at + blockFrames);
      const right = block.right.subarray(at, at + blockFrames);
      this.ring.write(left, right);
      this.timeline.append(play.facts.play, block.tick + at, left.length);
      play.facts.written += left.length;
      if (this.awaitingFirst) this.first(play);
    }
  }

  /** The first samples after a click lie in the ring. */
  private first(play: Play): void {
    const ms = now() - this.clickedAt;
    const seek = this.awaitingFirst === "seek";
    this.awaitingFirst = null;
    if (!seek) play.facts.startMs = ms;
    this.emit({ t: "buffered", facts: { ...play.facts }, seekMs: seek ? ms : null });
  }

  private fail(play: Play, e: unknown): void {
    if (e instanceof Refused && e.code === Code.ticketInvalid) {
      this.emit({ t: "session-lost" });
      return;
    }
    const message = e instanceof Error ? e.message : String(e);
    let code = "PLAYER";
    if (e instanceof Refused) code = codeName(e.code);
    else if (e instanceof Unreachable) code = "UNREACHABLE";
    else if (e instanceof HttpFailure) code = `HTTP_${e.status}`;
    this.current = null;
    play.close();
    const { play: number, playId, trackId } = play.facts;
    this.emit({ t: "failed", play: number, playId, trackId, code, message });
  }
}
