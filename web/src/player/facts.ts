// window.__segue: what was measured, for tests and for people who look. Nothing in it is made up.
import type { HeadCount } from "$lib/engine/heads";
import type { PlayFacts } from "$lib/engine/messages";

export interface Facts extends PlayFacts {
  finished: boolean;
}

interface Source {
  readonly status: { tick: number; underruns: number; bytes: number; webtransport: boolean; aheadSeconds: number; throughputKbps: number; heads: HeadCount } | null;
  readonly facts: PlayFacts | null;
  readonly seekMs: number | null;
  readonly decoder: string;
  readonly playing: boolean;
  readonly error: { code: string; detail: string } | null;
  readonly outputState: string;
  readonly eventsWaiting: number;
  flushEvents(): Promise<void>;
}

export function publishFacts(p: Source, finished: readonly Facts[]): void {
  Object.assign(globalThis, {
    __segue: {
      decoder: p.decoder,
      isolated: globalThis.crossOriginIsolated,
      output: p.outputState,
      playing: p.playing,
      tick: p.status?.tick ?? 0,
      underruns: p.status?.underruns ?? 0,
      bytes: p.status?.bytes ?? 0,
      webtransport: p.status?.webtransport ?? false,
      aheadSeconds: p.status?.aheadSeconds ?? 0,
      throughputKbps: p.status?.throughputKbps ?? 0,
      heads: p.status?.heads ?? null,
      seekMs: p.seekMs,
      error: p.error && `${p.error.code}: ${p.error.detail}`,
      current: p.facts,
      plays: finished,
      eventsWaiting: p.eventsWaiting,
      flushEvents: () => p.flushEvents(),
    },
  });
}
