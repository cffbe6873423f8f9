// The frames of segue/1: docs/protocol/segue-1.md, sections 2 and 3.
import { type Bytes, Malformed, Reader, concat, varint, varintLength } from "./bytes";

export const Type = { play: 0x01, credit: 0x02, head: 0x10, rec: 0x11, index: 0x12, end: 0x13, err: 0x1f } as const;
export const Flag = { prefetch: 1, keyKnown: 2, headOnly: 4, noIndex: 8 } as const;
export const EndReason = { track: 0, until: 1, headOnly: 2 } as const;

/** Error codes; the same numbers end QUIC and WebTransport streams. */
export const Code = {
  badFrame: 1,
  ticketExpired: 2,
  ticketInvalid: 3,
  notFound: 4,
  notEntitled: 5,
  playingElsewhere: 6,
  rateLimited: 7,
  qualityUnavailable: 8,
  draining: 9,
  internal: 10,
  cancelled: 11,
  earlyRefused: 12,
} as const;

const codeNames = new Map<number, string>([
  [1, "BAD_FRAME"],
  [2, "TICKET_EXPIRED"],
  [3, "TICKET_INVALID"],
  [4, "NOT_FOUND"],
  [5, "NOT_ENTITLED"],
  [6, "PLAYING_ELSEWHERE"],
  [7, "RATE_LIMITED"],
  [8, "QUALITY_UNAVAILABLE"],
  [9, "DRAINING"],
  [10, "INTERNAL"],
  [11, "CANCELLED"],
  [12, "EARLY_REFUSED"],
]);

export function codeName(code: number): string {
  return codeNames.get(code) ?? `CODE_${code}`;
}

const maxFrame = 1 << 20;
const codecVorbis = 1;

export type Kbps = 24 | 96 | 160 | 320;
export const qualities: readonly Kbps[] = [24, 96, 160, 320];

export interface PlayRequest {
  flags: number;
  track: Uint8Array;
  playId: Uint8Array;
  /** 0: the server decides. */
  kbps: Kbps | 0;
  fromMs: number;
  /** 0: to the end of the track. */
  untilMs: number;
  creditMs: number;
  setups: Uint8Array[];
  ticket: Uint8Array;
}

export interface Head {
  objectId: Bytes;
  sealId: Bytes;
  kid: bigint;
  wrappedKey: Bytes;
  codec: number;
  rate: number;
  channels: number;
  totalSamples: number;
  preSkip: number;
  recordCount: number;
  firstRecord: number;
  /** Position of the first sample that a decoder yields when it starts with firstRecord. */
  firstSample: number;
  gainTrackDb: number;
  gainAlbumDb: number;
  peakDb: number;
  setupId: Bytes;
  setup: Bytes;
}

export type Frame =
  | { type: "head"; head: Head }
  | { type: "rec"; number: number; ciphertext: Bytes }
  | { type: "index" }
  | { type: "end"; reason: number; last: number }
  | { type: "err"; code: number; retryAfterMs: number; text: string };

function frame(type: number, payload: Uint8Array): Bytes {
  return concat(varint(type), varint(payload.length), payload);
}

export function encodePlay(p: PlayRequest): Bytes {
  const quality = p.kbps === 0 ? 0 : qualities.indexOf(p.kbps) + 1;
  return frame(
    Type.play,
    concat(
      new Uint8Array([1, p.flags]),
      p.track,
      p.playId,
      new Uint8Array([quality, codecVorbis]),
      varint(p.fromMs),
      varint(p.untilMs),
      varint(p.creditMs),
      new Uint8Array([p.setups.length]),
      ...p.setups,
      varint(p.ticket.length),
      p.ticket,
    ),
  );
}

export function encodeCredit(untilMs: number): Bytes {
  return frame(Type.credit, varint(untilMs));
}

function decodeHead(r: Reader): Head {
  const head: Head = {
    objectId: r.bytes(16),
    sealId: r.bytes(16),
    kid: r.bigVarint(),
    wrappedKey: r.bytes(r.varint()),
    codec: r.u8(),
    rate: r.varint(),
    channels: r.u8(),
    totalSamples: r.varint(),
    preSkip: r.varint(),
    recordCount: r.varint(),
    firstRecord: r.varint(),
    firstSample: r.varint(),
    gainTrackDb: r.i16() / 256,
    gainAlbumDb: r.i16() / 256,
    peakDb: r.i16() / 256,
    setupId: r.bytes(8),
    setup: r.bytes(r.varint()),
  };
  r.bytes(r.varint()); // cdn: objects over HTTP are not read by this player
  r.end();
  if (head.codec !== codecVorbis) throw new Malformed("a codec that was not asked for");
  if (head.recordCount < 1 || head.recordCount > 0xffff_ffff) throw new Malformed("record count");
  if (head.firstRecord >= head.recordCount) throw new Malformed("first record");
  if (head.firstSample > head.totalSamples) throw new Malformed("first sample");
  if (head.channels < 1 || head.channels > 2) throw new Malformed("channels");
  if (head.rate !== 44100 && head.rate !== 22050) throw new Malformed("sample rate");
  return head;
}

function decode(type: number, payload: Bytes): Frame | null {
  const r = new Reader(payload);
  switch (type) {
    case Type.head:
      return { type: "head", head: decodeHead(r) };
    case Type.rec:
      return { type: "rec", number: r.varint(), ciphertext: r.rest() };
    case Type.index:
      return { type: "index" };
    case Type.end: {
      const f: Frame = { type: "end", reason: r.u8(), last: r.varint() };
      r.end();
      return f;
    }
    case Type.err: {
      const code = r.varint();
      const retryAfterMs = r.varint();
      return { type: "err", code, retryAfterMs, text: new TextDecoder().decode(r.rest().subarray(0, 256)) };
    }
    case Type.play:
    case Type.credit:
      throw new Malformed("a client's frame from the server");
    default:
      if (type >= 0x41 && type % 2 === 1) throw new Malformed("unknown critical frame");
      return null;
  }
}

/** Cuts a byte stream, in whatever pieces it comes, into frames. */
export class FrameReader {
  private chunks: Bytes[] = [];
  private held = 0;

  push(chunk: Bytes): void {
    if (chunk.length === 0) return;
    this.chunks.push(chunk);
    this.held += chunk.length;
  }

  /** True when the stream may end here. */
  get empty(): boolean {
    return this.held === 0;
  }

  /** The next whole frame of a known type, or null when more bytes are needed. */
  next(): Frame | null {
    for (;;) {
      const type = this.peekVarint(0);
      if (!type) return null;
      const length = this.peekVarint(type.size);
      if (!length) return null;
      if (length.value > maxFrame) throw new Malformed("frame too large");
      const start = type.size + length.size;
      if (this.held < start + length.value) return null;
      const whole = this.take(start + length.value);
      const f = decode(type.value, whole.subarray(start));
      if (f) return f;
    }
  }

  private byteAt(i: number): number | undefined {
    for (const c of this.chunks) {
      if (i < c.length) return c[i];
      i -= c.length;
    }
    return undefined;
  }

  private peekVarint(at: number): { value: number; size: number } | null {
    const first = this.byteAt(at);
    if (first === undefined) return null;
    const size = varintLength(first);
    if (this.held < at + size) return null;
    let value = first & 0x3f;
    for (let i = 1; i < size; i++) value = value * 256 + this.byteAt(at + i)!;
    return { value, size };
  }

  private take(n: number): Bytes {
    const first = this.chunks[0]!;
    this.held -= n;
    if (first.length >= n) {
      if (first.length === n) this.chunks.shift();
      else this.chunks[0] = first.subarray(n);
      return first.subarray(0, n);
    }
    const out = new Uint8Array(n);
    let at = 0;
    while (at < n) {
      const c = this.chunks[0]!;
      const part = c.subarray(0, Math.min(c.length, n - at));
      out.set(part, at);
      at += part.length;
      if (part.length === c.length) this.chunks.shift();
      else this.chunks[0] = c.subarray(part.length);
    }
    return out;
  }
}
