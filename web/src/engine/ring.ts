// The ring between the streaming worker (one writer) and the AudioWorklet (one reader): stereo, planar,
// 32-bit floats. Indices count frames since the start and wrap at 2^32; only their differences matter.

export const Control = {
  write: 0,
  read: 1,
  flushTo: 2,
  flushSeq: 3,
  flushAck: 4,
  /** 1: the reader takes frames; 0: it gives silence. */
  running: 5,
  /** 1: nothing will follow what is written, so that an empty ring is no underrun. */
  ended: 6,
  underruns: 7,
  /** Where the reader was when it obeyed the last flush. */
  readAtFlush: 8,
  size: 16,
} as const;

/** 5.9 s at 44.1 kHz. A power of two, and more than twice what the worker writes ahead. */
export const ringFrames = 1 << 18;

export interface RingMemory {
  control: Int32Array<ArrayBufferLike>;
  left: Float32Array<ArrayBufferLike>;
  right: Float32Array<ArrayBufferLike>;
}

export function ringBytes(frames = ringFrames): number {
  return Control.size * 4 + frames * 8;
}

/** Views over memory of ringBytes(frames), shared or not. */
export function ringOver(buffer: ArrayBufferLike): RingMemory {
  const frames = (buffer.byteLength - Control.size * 4) / 8;
  return {
    control: new Int32Array(buffer, 0, Control.size),
    left: new Float32Array(buffer, Control.size * 4, frames),
    right: new Float32Array(buffer, Control.size * 4 + frames * 4, frames),
  };
}

/** b - a of two wrapped indices, b not before a. */
export function distance(a: number, b: number): number {
  return (b - a) >>> 0;
}

/** Copies frames into the ring at a wrapped index. */
export function copyIn(m: RingMemory, at: number, left: Float32Array, right: Float32Array): void {
  const size = m.left.length;
  const start = (at >>> 0) % size;
  const first = Math.min(left.length, size - start);
  m.left.set(left.subarray(0, first), start);
  m.right.set(right.subarray(0, first), start);
  if (first < left.length) {
    m.left.set(left.subarray(first), 0);
    m.right.set(right.subarray(first), 0);
  }
}

const fadeFrames = 256;

/**
 * Sound begins, and begins again after a want, with this much at hand (0.19 s). It is less than a
 * record, so that it comes in one piece with the first frame.
 */
const reserveFrames = 8192;

/** The reader's side, as the worklet runs it for each block of output. */
export class RingReader {
  private flushed = 0;
  private starved = true;
  private last: [number, number] = [0, 0];
  private residue: [number, number] = [0, 0];
  private fade = 0;
  private cut = true;

  constructor(
    private readonly m: RingMemory,
    private readonly reserve = reserveFrames,
  ) {}

  /** Fills both channels; what is missing is silence. */
  process(left: Float32Array, right: Float32Array): void {
    const c = this.m.control;
    const seq = Atomics.load(c, Control.flushSeq);
    if (seq !== this.flushed) {
      Atomics.store(c, Control.readAtFlush, Atomics.load(c, Control.read));
      Atomics.store(c, Control.read, Atomics.load(c, Control.flushTo));
      Atomics.store(c, Control.flushAck, seq);
      this.flushed = seq;
      this.starved = true;
      this.cut = true;
    }
    const read = Atomics.load(c, Control.read);
    const held = distance(read, Atomics.load(c, Control.write));
    const holdOn = this.starved && held < this.reserve && Atomics.load(c, Control.ended) !== 1;
    const n = Atomics.load(c, Control.running) === 1 && !holdOn ? Math.min(held, left.length) : 0;
    this.copyOut(read, n, left, right);
    Atomics.store(c, Control.read, (read + n) | 0);
    this.account(n, left.length);
    this.smooth(n, left, right);
  }

  private copyOut(read: number, n: number, left: Float32Array, right: Float32Array): void {
    const size = this.m.left.length;
    const start = (read >>> 0) % size;
    const first = Math.min(n, size - start);
    left.set(this.m.left.subarray(start, start + first), 0);
    right.set(this.m.right.subarray(start, start + first), 0);
    if (first < n) {
      left.set(this.m.left.subarray(0, n - first), first);
      right.set(this.m.right.subarray(0, n - first), first);
    }
    left.fill(0, n);
    right.fill(0, n);
  }

  /** An underrun is counted once each time that running sound stops for want of frames. */
  private account(n: number, wanted: number): void {
    const c = this.m.control;
    if (n === wanted) {
      this.starved = false;
      return;
    }
    this.cut = true;
    if (Atomics.load(c, Control.running) !== 1 || this.starved) return;
    this.starved = true;
    if (Atomics.load(c, Control.ended) !== 1) Atomics.add(c, Control.underruns, 1);
  }

  /** Where sound was cut (pause, seek, want) the step is faded out instead of heard as a click. */
  private smooth(n: number, left: Float32Array, right: Float32Array): void {
    if (this.cut && (n === left.length || n === 0)) {
      const first: [number, number] = [left[0]!, right[0]!];
      if (this.last[0] !== first[0] || this.last[1] !== first[1]) {
        this.residue = [this.last[0] - first[0], this.last[1] - first[1]];
        this.fade = fadeFrames;
      }
      this.cut = false;
    }
    for (let i = 0; i < left.length && this.fade > 0; i++, this.fade--) {
      const part = this.fade / fadeFrames;
      left[i]! += this.residue[0] * part;
      right[i]! += this.residue[1] * part;
    }
    this.last = [left[left.length - 1]!, right[right.length - 1]!];
  }
}
