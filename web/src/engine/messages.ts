// What the page and the streaming worker say to each other.
import type { Bytes } from "./bytes";
import type { Kbps } from "./frames";
import type { HeadCount } from "./heads";
import type { Endpoints, TransportChoice, TransportKind } from "./transport";

export interface TrackAsk {
  trackId: string;
  /** Qualities that the track is known to have; empty: unknown. */
  available: Kbps[];
}

export type ToWorker =
  | { t: "ring"; buffer: SharedArrayBuffer | null; port: MessagePort | null }
  | { t: "key" }
  | { t: "session"; sessionId: string; sealedKey: Bytes; ticket: Bytes; maxKbps: number; endpoints: Endpoints }
  | { t: "ticket"; ticket: Bytes }
  | { t: "options"; quality: Kbps | 0; normalise: boolean; transport: TransportChoice; decoder?: "webcodecs" | "wasm" }
  | { t: "load"; play: number; track: TrackAsk; fromMs: number; running: boolean; clickedAt: number }
  | { t: "next"; play: number; track: TrackAsk | null }
  | { t: "heads"; tracks: TrackAsk[] }
  | { t: "seek"; play: number; toMs: number; clickedAt: number }
  | { t: "run"; on: boolean }
  | { t: "stop" }
  | { t: "visible"; on: boolean };

/** One play as it stands; numbers are measured, never guessed. */
export interface PlayFacts {
  play: number;
  playId: string;
  trackId: string;
  kbps: Kbps;
  transport: TransportKind | null;
  /** Click (or load) to first samples in the ring, in ms; 0 when they lay there before. */
  startMs: number;
  prefetched: boolean;
  /** Ticks given to the output since the play began. */
  heard: number;
  /** Ticks written to the ring. */
  written: number;
  /** Length in ticks; 0 while unknown. */
  total: number;
  /** Ticks that the decoder fell short of total_samples. */
  missing: number;
  gainDb: number;
}

export type FromWorker =
  | { t: "key"; publicKey: Bytes }
  | { t: "renew" }
  | { t: "session-lost" }
  | { t: "ready"; decoder: string }
  | { t: "buffered"; facts: PlayFacts; seekMs: number | null }
  | { t: "audible"; facts: PlayFacts; tick: number }
  | { t: "gone"; facts: PlayFacts; finished: boolean }
  | { t: "ended"; play: number }
  | { t: "quality"; facts: PlayFacts; from: Kbps; to: Kbps }
  /** A load was taken up: the play id, by which everything about this start is known. */
  | { t: "loading"; play: number; playId: string }
  | { t: "failed"; play: number; playId: string; trackId: string; code: string; message: string }
  | {
      t: "status";
      facts: PlayFacts | null;
      tick: number;
      /** When tick was true: performance.timeOrigin + performance.now(). */
      at: number;
      running: boolean;
      waiting: boolean;
      aheadSeconds: number;
      underruns: number;
      throughputKbps: number;
      webtransport: boolean;
      bytes: number;
      heads: HeadCount;
    };
