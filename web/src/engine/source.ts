// A record stream decoded: stereo PCM at 44.1 kHz, exact from the first tick asked for to the last.
import { Packets, pages, vorbisHeaders } from "./ogg";
import { hex } from "./bytes";
import type { DecoderMaker, Pcm, VorbisDecoder } from "./decoder";
import type { RecordStream } from "./records";
import type { Session } from "./session";
import { Normaliser } from "./upsample";

/** Ticks are samples at this rate, in every quality. */
export const tickRate = 44100;

export interface Block {
  tick: number;
  left: Float32Array<ArrayBuffer>;
  right: Float32Array<ArrayBuffer>;
}

export class PcmSource {
  private decoder: VorbisDecoder | null = null;
  private normaliser: Normaliser | null = null;
  private readonly packets = new Packets();
  private ready: Block[] = [];
  /** Tick of the next sample to come from the decoder. */
  private at = 0;
  private total = Infinity;
  private ended = false;
  private closed = false;
  /** Ticks that the decoder gave too few at the end; silence takes their place. */
  missing = 0;

  constructor(
    private readonly session: Session,
    private readonly maker: DecoderMaker,
    readonly records: RecordStream,
    private from: number,
    private until = Infinity,
  ) {}

  /** Tick of the next block that next() gives. */
  get position(): number {
    return this.ready[0]?.tick ?? Math.max(this.at, this.from);
  }

  get totalTicks(): number {
    return this.total;
  }

  /** Sound ends here instead of at the track's end. */
  cutAt(tick: number): void {
    this.until = tick;
  }

  /** Goes on from a later tick; what lies before it is decoded and dropped. */
  skipTo(tick: number): void {
    this.from = tick;
    this.ready = this.ready.flatMap((b) => cut(b, tick, this.until) ?? []);
  }

  /** True when the first sound is decoded and can be taken without waiting for the network. */
  async prime(): Promise<void> {
    while (this.ready.length === 0 && !this.ended) await this.more();
  }

  /** The next stretch of sound; null at the end. */
  async next(): Promise<Block | null> {
    for (;;) {
      const block = this.ready.shift();
      if (block) {
        const exact = cut(block, this.from, this.until);
        if (exact) return exact;
        if (block.tick >= this.until) return null;
        continue;
      }
      if (this.ended || this.closed || this.at >= this.until) return null;
      await this.more();
    }
  }

  close(): void {
    this.closed = true;
    this.records.close();
    this.decoder?.close();
  }

  private async open(): Promise<VorbisDecoder> {
    const head = await this.records.ready();
    if (this.decoder) return this.decoder;
    const setup = this.session.setups.get(hex(head.setupId))!;
    const decoder = await this.maker.make(vorbisHeaders(setup.pages), head.rate, head.channels);
    if (this.closed) decoder.close();
    this.normaliser = new Normaliser(head.rate, head.channels);
    const factor = tickRate / head.rate;
    this.at = head.firstSample * factor;
    this.total = head.totalSamples * factor;
    this.decoder = decoder;
    return decoder;
  }

  private async more(): Promise<void> {
    const decoder = await this.open();
    const record = await this.records.next();
    if (this.closed) return;
    if (record) {
      const packets = pages(record.data).flatMap((p) => this.packets.take(p));
      for (const pcm of await decoder.decode(packets)) this.take(this.normaliser!.push(pcm));
      return;
    }
    for (const pcm of await decoder.flush()) this.take(this.normaliser!.push(pcm));
    const rest = this.normaliser!.flush();
    if (rest) this.take(rest);
    this.ended = true;
    this.missing = Math.max(0, this.total - this.at);
    // The track has the length that HEAD promised, whatever the decoder made of it.
    if (this.missing > 0) {
      const silence = new Float32Array(Math.min(this.missing, tickRate));
      this.take([silence, silence]);
    }
    decoder.close();
  }

  private take(pcm: Pcm): void {
    const [left, right] = pcm;
    if (!left || !right || left.length === 0) return;
    const block = cut({ tick: this.at, left, right }, this.from, this.total);
    this.at += left.length;
    if (block) this.ready.push(block);
  }
}

/** The part of a block that lies in [from, until), or null. */
export function cut(b: Block, from: number, until: number): Block | null {
  const start = Math.max(0, from - b.tick);
  const end = Math.min(b.left.length, until - b.tick);
  if (start >= end) return null;
  if (start === 0 && end === b.left.length) return b;
  return { tick: b.tick + start, left: b.left.subarray(start, end), right: b.right.subarray(start, end) };
}
