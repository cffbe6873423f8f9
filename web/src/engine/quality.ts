// Which quality to ask for: segue/1 design, "Adaptation".
import { type Kbps, qualities } from "./frames";

export interface Conditions {
  /** The listener's choice; 0 is auto. */
  wanted: Kbps | 0;
  /** The most that the plan allows; 0: no bound. */
  maxKbps: number;
  /** What the track has, if known; empty: unknown. */
  available: readonly Kbps[];
  /** Measured throughput; 0: unknown. */
  throughputKbps: number;
}

function allowed(c: Conditions): Kbps[] {
  const list = qualities.filter(
    (q) => (c.maxKbps === 0 || q <= c.maxKbps) && (c.available.length === 0 || c.available.includes(q)),
  );
  return list.length > 0 ? list : [...(c.available.length > 0 ? c.available : ([96] as const))];
}

const atMost = (list: Kbps[], bound: number): Kbps => list.filter((q) => q <= bound).at(-1) ?? list[0]!;

/** Auto starts at 96 while the network is unknown or slow, else with the best there is. */
export function startQuality(c: Conditions): Kbps {
  const list = allowed(c);
  if (c.wanted !== 0) return atMost(list, c.wanted);
  return c.throughputKbps < 400 ? atMost(list, 96) : atMost(list, c.throughputKbps / 2);
}

/** The quality to change to while playing, or null to stay. */
export function adapt(c: Conditions, current: Kbps, bufferedSeconds: number, atEnd: boolean): Kbps | null {
  if (c.wanted !== 0) {
    const q = startQuality(c);
    return q === current ? null : q;
  }
  if (c.throughputKbps === 0 || atEnd) return null;
  const list = allowed(c);
  const i = list.indexOf(current);
  if (bufferedSeconds < 5 && c.throughputKbps < 1.3 * current) return list[i - 1] ?? null;
  const up = list[i + 1];
  if (bufferedSeconds > 20 && up && c.throughputKbps > 2 * up) return up;
  return null;
}
