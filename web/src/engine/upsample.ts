// 22.05 kHz to 44.1 kHz by a windowed-sinc half-band filter: every second sample is the input itself.
import type { Pcm } from "./decoder";

const half = 16; // input samples on each side of a new one

const taps = Float64Array.from({ length: half * 2 }, (_, i) => {
  const x = i - half + 0.5;
  const sinc = Math.sin(Math.PI * x) / (Math.PI * x);
  const window = 0.5 + 0.5 * Math.cos((Math.PI * x) / (half + 0.5));
  return sinc * window;
});
const unity = taps.reduce((a, b) => a + b, 0);

/** Doubles one channel. Output sample 2i is input sample i; flush gives the last ones. */
export class Doubler {
  private tail: Float32Array<ArrayBuffer> = new Float32Array(half - 1);

  push(input: Float32Array): Float32Array<ArrayBuffer> {
    const all = new Float32Array(this.tail.length + input.length);
    all.set(this.tail);
    all.set(input, this.tail.length);
    const n = Math.max(0, all.length - (half * 2 - 1));
    const out = new Float32Array(n * 2);
    for (let i = 0; i < n; i++) {
      let sum = 0;
      for (let k = 0; k < half * 2; k++) sum += taps[k]! * all[i + k]!;
      out[2 * i] = all[i + half - 1]!;
      out[2 * i + 1] = sum / unity;
    }
    this.tail = all.slice(n);
    return out;
  }

  flush(): Float32Array<ArrayBuffer> {
    return this.push(new Float32Array(half));
  }
}

/** Two planes at 44.1 kHz of whatever the decoder gives. */
export class Normaliser {
  private readonly doublers: Doubler[];

  constructor(rate: number, channels: number) {
    this.doublers = rate === 22050 ? Array.from({ length: channels }, () => new Doubler()) : [];
  }

  push(pcm: Pcm): Pcm {
    return stereo(this.doublers.length ? this.doublers.map((d, i) => d.push(pcm[i]!)) : pcm);
  }

  flush(): Pcm | null {
    return this.doublers.length ? stereo(this.doublers.map((d) => d.flush())) : null;
  }
}

function stereo(pcm: Pcm): Pcm {
  return pcm.length === 1 ? [pcm[0]!, pcm[0]!] : pcm.slice(0, 2);
}
