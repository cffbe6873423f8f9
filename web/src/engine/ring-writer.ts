// The worker's side of the ring, over shared memory or over a message port.
import { Control, type RingMemory, copyIn, distance, ringOver } from "./ring";

export interface RingWriter {
  /** Frames written and not yet played. */
  buffered(): number;
  /** Frames that may be written now. */
  space(): number;
  write(left: Float32Array<ArrayBuffer>, right: Float32Array<ArrayBuffer>): void;
  /** Drops what is buffered: the reader jumps to what is written next. */
  flush(): void;
  /** Takes back the last frames written, so many that the end is at this index. */
  rewind(to: number): void;
  setRunning(on: boolean): void;
  setEnded(on: boolean): void;
  /** Index of the next frame to write, of the next to play, and where the reader was at the last flush. */
  state(): { write: number; read: number; readAtFlush: number; flushTo: number; flushed: boolean; underruns: number };
}

/** Both writers keep their own idea of what they wrote; they differ in how the reader learns of it. */
abstract class Writer implements RingWriter {
  protected at = 0;
  protected flushTo = 0;
  protected seq = 0;

  protected abstract read(): number;
  protected abstract ack(): number;
  protected abstract readAtFlush(): number;
  protected abstract underruns(): number;
  protected abstract publish(control: [number, number][], left?: Float32Array<ArrayBuffer>, right?: Float32Array<ArrayBuffer>): void;

  constructor(private readonly frames: number) {}

  buffered(): number {
    return distance(this.ack() === this.seq ? this.read() : this.flushTo, this.at);
  }

  space(): number {
    return this.frames - distance(this.read(), this.at);
  }

  write(left: Float32Array<ArrayBuffer>, right: Float32Array<ArrayBuffer>): void {
    const from = this.at;
    this.at = (this.at + left.length) | 0;
    this.publishAt(from, left, right);
  }

  protected publishAt(_from: number, left: Float32Array<ArrayBuffer>, right: Float32Array<ArrayBuffer>): void {
    this.publish([[Control.write, this.at]], left, right);
  }

  flush(): void {
    this.flushTo = this.at;
    this.seq = (this.seq + 1) | 0;
    this.publish([
      [Control.flushTo, this.flushTo],
      [Control.flushSeq, this.seq],
    ]);
  }

  rewind(to: number): void {
    this.at = to | 0;
    this.publish([[Control.write, this.at]]);
  }

  setRunning(on: boolean): void {
    this.publish([[Control.running, on ? 1 : 0]]);
  }

  setEnded(on: boolean): void {
    this.publish([[Control.ended, on ? 1 : 0]]);
  }

  state() {
    // The acknowledgement first: an index read behind it is one from after the flush.
    const flushed = this.ack() === this.seq;
    return {
      write: this.at,
      read: this.read(),
      readAtFlush: this.readAtFlush(),
      flushTo: this.flushTo,
      flushed,
      underruns: this.underruns(),
    };
  }
}

export class SharedRing extends Writer {
  private readonly m: RingMemory;

  constructor(buffer: SharedArrayBuffer) {
    const m = ringOver(buffer);
    super(m.left.length);
    this.m = m;
  }

  protected override publishAt(from: number, left: Float32Array<ArrayBuffer>, right: Float32Array<ArrayBuffer>): void {
    copyIn(this.m, from, left, right);
    Atomics.store(this.m.control, Control.write, this.at);
  }
  protected publish(control: [number, number][]): void {
    for (const [index, value] of control) Atomics.store(this.m.control, index, value);
  }
  protected read = () => Atomics.load(this.m.control, Control.read);
  protected ack = () => Atomics.load(this.m.control, Control.flushAck);
  protected readAtFlush = () => Atomics.load(this.m.control, Control.readAtFlush);
  protected underruns = () => Atomics.load(this.m.control, Control.underruns);
}

export class PortRing extends Writer {
  private seen: [number, number, number, number] = [0, 0, 0, 0];

  constructor(
    private readonly port: MessagePort,
    frames: number,
  ) {
    super(frames);
    port.onmessage = (e: MessageEvent<[number, number, number, number]>) => (this.seen = e.data);
  }

  protected override publishAt(from: number, left: Float32Array<ArrayBuffer>, right: Float32Array<ArrayBuffer>): void {
    // The caller's planes may be views of, or equal to, each other: copies travel.
    const l = left.slice();
    const r = right.slice();
    this.port.postMessage({ control: [[Control.write, this.at]], at: from, left: l, right: r }, [l.buffer, r.buffer]);
  }
  protected publish(control: [number, number][]): void {
    this.port.postMessage({ control });
  }
  protected read = () => this.seen[0];
  protected ack = () => this.seen[1];
  protected readAtFlush = () => this.seen[2];
  protected underruns = () => this.seen[3];
}
