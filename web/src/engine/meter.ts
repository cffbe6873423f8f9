// Measured throughput of arriving data, over the stretches in which data did arrive.

const pauseMs = 120; // a longer silence is the server pacing itself, not the network
const stretchBytes = 24 * 1024;

export class Meter {
  private bytes = 0;
  private ms = 0;
  private last = -Infinity;
  private rate = 0;

  add(bytes: number, now: number): void {
    const gap = now - this.last;
    this.last = now;
    if (gap > pauseMs) return; // what came first after a silence says nothing of the rate
    this.bytes += bytes;
    this.ms += gap;
    if (this.bytes < stretchBytes || this.ms < 1) return;
    const sample = (this.bytes * 8) / this.ms;
    this.rate = this.rate === 0 ? sample : this.rate * 0.7 + sample * 0.3;
    this.bytes = 0;
    this.ms = 0;
  }

  /** kbit/s; 0: not known yet. */
  get kbps(): number {
    return this.rate;
  }
}
