// One rendition of one track as a sequence of opened records, over as many PLAYs as that takes.
import { type Bytes, Malformed, equal, hex, idBytes, idText, newId } from "./bytes";
import { Code, EndReason, Flag, type Frame, FrameReader, type Head, type Kbps, codeName, encodePlay } from "./frames";
import { pages } from "./ogg";
import type { Session } from "./session";
import { RecordOpener, deriveRecordKey, unwrapBaseKey } from "./sframe";
import { type Answer, HttpFailure, type TransportKind, Unreachable } from "./transport";

export interface OpenedRecord {
  number: number;
  data: Bytes;
  /** Position after the record, in samples of the rendition. */
  end: number;
}

/** The server refused: code is one of the protocol's. */
export class Refused extends Error {
  override name = "Refused";
  constructor(
    readonly code: number,
    readonly retryAfterMs: number,
    detail: string,
  ) {
    super(`${codeName(code)}: ${detail}`);
  }
}

/** The track was encoded anew while it played: what is held does not join what comes. */
export class ObjectChanged extends Error {
  override name = "ObjectChanged";
}

export interface Request {
  trackId: string;
  kbps: Kbps;
  fromMs: number;
  /** Only the head of the track for now; extend() takes the rest. 0: all of it. */
  headMs: number;
}

const creditMs = 10_000;
const lowMs = 20_000;
const retries = [200, 600, 1500, 3000, 6000];

const delay = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

export class RecordStream {
  /** Play id of the first PLAY, which stands for the listening if this stream begins one. */
  readonly playId: string;
  head: Head | null = null;
  kind: TransportKind | null = null;
  /** What came over the wire for it. */
  bytes = 0;
  private queue: OpenedRecord[] = [];
  private done = false;
  private failure: unknown = null;
  private closed = false;
  private answer: Answer | null = null;
  private opener: RecordOpener | null = null;
  private nextRecord = 0;
  private endSample = 0;
  private consumed = 0;
  private credited = 0;
  private wake: (() => void)[] = [];
  private release: (() => void) | null = null;
  private headMs: number;

  constructor(
    private readonly session: Session,
    readonly request: Request,
  ) {
    this.playId = idText(newId());
    this.headMs = request.headMs;
    this.run().catch((e: unknown) => this.fail(e));
  }

  /** Seconds of sound received and not yet taken. */
  get aheadSeconds(): number {
    return this.head && this.queue.length > 0 ? Math.max(0, this.endSample - this.consumed) / this.head.rate : 0;
  }

  /** All of the track has been received. */
  get complete(): boolean {
    return this.done;
  }

  /** A head becomes the whole track. */
  extend(): void {
    this.headMs = 0;
    this.release?.();
  }

  close(): void {
    this.closed = true;
    this.answer?.cancel();
    this.release?.();
    this.notify();
  }

  /** Resolves when HEAD is there. */
  async ready(): Promise<Head> {
    while (!this.head) {
      this.check();
      await this.change();
    }
    return this.head;
  }

  /** The next record, or null behind the last. */
  async next(): Promise<OpenedRecord | null> {
    for (;;) {
      const record = this.queue.shift();
      if (record) {
        this.consumed = record.end;
        this.giveCredit();
        if (this.headMs === 0) this.release?.();
        return record;
      }
      this.check();
      if (this.done) return null;
      await this.change();
    }
  }

  private check(): void {
    if (this.closed) throw new Refused(Code.cancelled, 0, "closed here");
    if (this.failure) throw this.failure;
  }

  private change(): Promise<void> {
    return new Promise((resolve) => this.wake.push(resolve));
  }

  private notify(): void {
    const wake = this.wake;
    this.wake = [];
    for (const w of wake) w();
  }

  private fail(e: unknown): void {
    this.failure = e;
    this.notify();
  }

  /** Below 20 s ahead the server may send 10 s more. */
  private giveCredit(): void {
    if (!this.head || !this.answer || this.headMs > 0) return;
    const at = (this.consumed * 1000) / this.head.rate;
    if (this.credited - at > lowMs) return;
    this.credited = Math.floor(Math.max(this.credited, at) + creditMs);
    this.answer.credit(this.credited);
  }

  private async run(): Promise<void> {
    let attempt = 0;
    while (!this.closed && !this.done) {
      const before = this.nextRecord;
      try {
        const reason = await this.once();
        if (reason === EndReason.track) {
          this.done = true;
          this.notify();
        } else if (this.headMs > 0) {
          await new Promise<void>((resolve) => (this.release = resolve));
        }
        attempt = 0;
      } catch (e) {
        if (this.closed) return;
        if (this.nextRecord > before) attempt = 0;
        await this.recover(e, attempt++);
      }
      // In the fallback the next part is asked for when what is held runs low.
      while (!this.closed && !this.done && this.headMs === 0 && this.aheadSeconds * 1000 > creditMs / 2) {
        await new Promise<void>((resolve) => (this.release = resolve));
      }
    }
  }

  /** Returns when it makes sense to ask again; throws when it does not. */
  private async recover(e: unknown, attempt: number): Promise<void> {
    if (e instanceof DOMException && e.name === "OperationError") throw new Malformed("record does not authenticate");
    const pause = retries[attempt];
    if (pause === undefined) throw e;
    if (e instanceof Refused) {
      switch (e.code) {
        case Code.ticketExpired:
          await this.session.renew();
          return;
        case Code.rateLimited:
        case Code.draining:
        case Code.internal:
        case Code.earlyRefused:
          return delay(Math.max(pause, e.retryAfterMs));
        default:
          throw e;
      }
    }
    if (e instanceof Malformed || e instanceof ObjectChanged) throw e;
    if (e instanceof HttpFailure && e.status < 500 && e.status !== 429) throw e;
    // What is left are lost connections: streams cut short, resets, no network.
    return delay(pause);
  }

  private fromMs(): number {
    if (!this.head || this.nextRecord === 0) return this.request.fromMs;
    // 2048 samples further the server begins with the record after the last one held.
    return Math.ceil(((this.endSample + 2048) * 1000) / this.head.rate);
  }

  private makeFrame(first: boolean, fromMs: number): Bytes {
    const s = this.session;
    const known = this.opener !== null;
    return encodePlay({
      flags: (known ? Flag.keyKnown : 0) | Flag.noIndex | (this.headMs > 0 ? Flag.prefetch : 0),
      track: idBytes(this.request.trackId),
      playId: first ? idBytes(this.playId) : newId(),
      kbps: this.request.kbps,
      fromMs,
      untilMs: this.headMs > 0 ? this.request.fromMs + this.headMs : 0,
      creditMs,
      setups: [...s.setups.values()].slice(-16).map((x) => x.id),
      ticket: s.ticket,
    });
  }

  /** One PLAY and its answer. Returns END's reason. */
  private async once(): Promise<number> {
    const fromMs = this.fromMs();
    let first = this.head === null;
    const answer = await this.session.transport.open(() => {
      const frame = this.makeFrame(first, fromMs);
      first = false;
      return frame;
    });
    if (this.closed) {
      answer.cancel();
      return EndReason.until;
    }
    this.answer = answer;
    this.kind = answer.kind;
    this.credited = fromMs + creditMs;
    try {
      return await this.consume(answer);
    } catch (e) {
      answer.cancel();
      throw e;
    } finally {
      this.answer = null;
    }
  }

  private async consume(answer: Answer): Promise<number> {
    const frames = new FrameReader();
    let expected = -1;
    for (;;) {
      const f = frames.next();
      if (!f) {
        const chunk = await answer.read();
        if (this.closed) return EndReason.until;
        if (!chunk) throw new Unreachable("stream ended without END");
        this.bytes += chunk.length;
        this.session.received(chunk.length);
        this.session.meter.add(chunk.length, performance.now());
        frames.push(chunk);
        continue;
      }
      if (f.type === "err") throw new Refused(f.code, f.retryAfterMs, f.text);
      if (f.type === "end") return f.reason;
      if (f.type === "index") continue;
      if (f.type === "head") {
        if (expected >= 0) throw new Malformed("second HEAD");
        expected = f.head.firstRecord;
        await this.takeHead(f.head);
        continue;
      }
      if (f.number !== expected) throw new Malformed("record out of order");
      expected++;
      await this.takeRecord(f);
    }
  }

  private async takeHead(head: Head): Promise<void> {
    const s = this.session;
    const setupName = hex(head.setupId);
    if (head.setup.length > 0) s.setups.set(setupName, { id: head.setupId.slice(), pages: head.setup.slice() });
    else if (!s.setups.has(setupName)) throw new Malformed("a setup that is not held here");
    if (this.head) {
      if (!equal(this.head.objectId, head.objectId)) throw new ObjectChanged("the track was encoded anew");
      if (head.firstRecord > this.nextRecord) throw new Malformed("gap between records");
      return;
    }
    const base = await unwrapBaseKey(s.key, head.wrappedKey, { ...head, sessionId: s.id });
    this.opener = new RecordOpener(await deriveRecordKey(base, head.kid), head.kid, head.sealId, head.recordCount);
    this.nextRecord = head.firstRecord;
    this.endSample = head.firstSample;
    this.consumed = head.firstSample;
    this.head = head;
    this.notify();
  }

  private async takeRecord(f: Extract<Frame, { type: "rec" }>): Promise<void> {
    if (!this.opener || f.number < this.nextRecord) return; // held already
    const data = await this.opener.open(f.number, f.ciphertext);
    const granule = pages(data).findLast((p) => p.granule >= 0n)?.granule;
    if (granule === undefined || granule > BigInt(this.head!.totalSamples) * 2n) throw new Malformed("granule position");
    this.endSample = Number(granule);
    this.nextRecord = f.number + 1;
    this.queue.push({ number: f.number, data, end: this.endSample });
    this.notify();
  }
}
