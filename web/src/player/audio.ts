// The sound card's side: one AudioContext at 44.1 kHz, one worklet, one volume.
import workletUrl from "$lib/engine/ring.worklet.ts?worker&url";
import { ringBytes } from "$lib/engine/ring";
import { tickRate } from "$lib/engine/source";

export class Output {
  /** Shared with the worker where the page is isolated; else writes travel over the port. */
  readonly buffer: SharedArrayBuffer | null;
  /** The worker's end of the port. */
  readonly workerPort: MessagePort | null = null;
  private readonly workletPort: MessagePort | null = null;
  private context: AudioContext | null = null;
  private gain: GainNode | null = null;
  private opening: Promise<void> | null = null;
  private volume = 1;

  constructor() {
    this.buffer = globalThis.crossOriginIsolated ? new SharedArrayBuffer(ringBytes()) : null;
    if (!this.buffer) {
      const channel = new MessageChannel();
      this.workerPort = channel.port1;
      this.workletPort = channel.port2;
    }
  }

  /** Must begin inside a gesture of the listener: browsers keep sound off before one. */
  open(): Promise<void> {
    this.opening ??= this.build();
    return this.opening;
  }

  private async build(): Promise<void> {
    const context = new AudioContext({ sampleRate: tickRate, latencyHint: "interactive" });
    this.context = context;
    await context.audioWorklet.addModule(workletUrl);
    const node = new AudioWorkletNode(context, "segue-ring", {
      numberOfInputs: 0,
      outputChannelCount: [2],
      processorOptions: { buffer: this.buffer },
    });
    if (this.workletPort) node.port.postMessage({ writer: this.workletPort }, [this.workletPort]);
    this.gain = new GainNode(context, { gain: loudness(this.volume) });
    node.connect(this.gain).connect(context.destination);
  }

  async resume(): Promise<void> {
    await this.open();
    if (this.context?.state !== "running") await this.context?.resume();
  }

  /** After a while of silence the sound card may rest. */
  async rest(): Promise<void> {
    if (this.context?.state === "running") await this.context.suspend();
  }

  setVolume(volume: number): void {
    this.volume = volume;
    if (this.context && this.gain) this.gain.gain.setTargetAtTime(loudness(volume), this.context.currentTime, 0.015);
  }

  get state(): string {
    return this.context?.state ?? "closed";
  }

  get sampleRate(): number {
    return this.context?.sampleRate ?? 0;
  }
}

/** The ear hears ratios: the middle of the slider should sound like the middle. */
function loudness(volume: number): number {
  return volume ** 2;
}
