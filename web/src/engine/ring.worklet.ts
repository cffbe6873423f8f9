// The AudioWorklet: gives the ring to the sound card.
import { Control, RingReader, type RingMemory, copyIn, distance, ringBytes, ringOver } from "./ring";

// What a worklet's scope has; TypeScript's libraries do not describe it.
declare class AudioWorkletProcessor {
  readonly port: MessagePort;
  constructor(options?: unknown);
}
declare function registerProcessor(name: string, processor: unknown): void;

interface Options {
  processorOptions: { buffer: SharedArrayBuffer | null };
}

class RingProcessor extends AudioWorkletProcessor {
  private readonly memory: RingMemory;
  private readonly reader: RingReader;
  private readonly shared: boolean;
  private writer: MessagePort | null = null;
  private told = 0;
  private lastAck = 0;

  constructor(options: Options) {
    super();
    const buffer = options.processorOptions.buffer;
    this.shared = buffer !== null;
    this.memory = ringOver(buffer ?? new ArrayBuffer(ringBytes()));
    this.reader = new RingReader(this.memory);
    this.port.onmessage = (e: MessageEvent<{ writer: MessagePort }>) => {
      this.writer = e.data.writer;
      this.writer.onmessage = (m: MessageEvent<PortMessage>) => this.take(m.data);
    };
  }

  /** Without shared memory the worker's writes come as messages. */
  private take(m: PortMessage): void {
    const c = this.memory.control;
    if (m.left && m.right) copyIn(this.memory, m.at ?? 0, m.left, m.right);
    for (const [index, value] of m.control) Atomics.store(c, index, value);
  }

  process(_inputs: Float32Array[][], outputs: Float32Array[][]): boolean {
    const [left, right] = outputs[0] ?? [];
    if (left) this.reader.process(left, right ?? left);
    if (!this.shared) this.tell();
    return true;
  }

  private tell(): void {
    const c = this.memory.control;
    const read = c[Control.read]!;
    const moved = distance(this.told, read);
    // Seldom is enough, but the last frame has to be told: the end of the sound hangs on it.
    const enough = moved >= 1024 || (moved > 0 && read === c[Control.write]);
    if (!enough && c[Control.flushAck] === this.lastAck) return;
    this.told = read;
    this.lastAck = c[Control.flushAck]!;
    this.writer?.postMessage([read, this.lastAck, c[Control.readAtFlush], c[Control.underruns]]);
  }
}

interface PortMessage {
  control: [number, number][];
  at?: number;
  left?: Float32Array;
  right?: Float32Array;
}

registerProcessor("segue-ring", RingProcessor);
