// Media keys, lock screen and headset buttons. The system only shows them for a page with a playing
// media element, so that a silent one plays beside the worklet.
import { artUrl } from "./library.svelte";

export interface MediaActions {
  play(): void;
  pause(): void;
  next(): void;
  previous(): void;
  seek(ms: number): void;
  seekBy(ms: number): void;
  stop(): void;
}

export class Media {
  private element: HTMLAudioElement | null = null;

  constructor(actions: MediaActions) {
    if (!("mediaSession" in navigator)) return;
    const set = (name: MediaSessionAction, handler: MediaSessionActionHandler) => {
      try {
        navigator.mediaSession.setActionHandler(name, handler);
      } catch {
        // A browser that does not know this action.
      }
    };
    set("play", () => actions.play());
    set("pause", () => actions.pause());
    set("stop", () => actions.stop());
    set("nexttrack", () => actions.next());
    set("previoustrack", () => actions.previous());
    set("seekto", (d) => d.seekTime !== undefined && actions.seek(d.seekTime * 1000));
    set("seekforward", (d) => actions.seekBy((d.seekOffset ?? 10) * 1000));
    set("seekbackward", (d) => actions.seekBy(-(d.seekOffset ?? 10) * 1000));
  }

  /** Call inside the listener's gesture the first time. */
  playing(on: boolean): void {
    if (!this.element) {
      this.element = new Audio("/silence.flac");
      this.element.loop = true;
    }
    if (on) this.element.play().catch(() => undefined);
    else this.element.pause();
    if ("mediaSession" in navigator) navigator.mediaSession.playbackState = on ? "playing" : "paused";
  }

  track(t: { title: string; artist: string; album: string; artwork: string } | null): void {
    if (!("mediaSession" in navigator)) return;
    navigator.mediaSession.metadata = t
      ? new MediaMetadata({
          title: t.title,
          artist: t.artist,
          album: t.album,
          artwork: t.artwork
            ? ([160, 320, 640] as const).map((n) => ({ src: artUrl(t.artwork, n), sizes: `${n}x${n}`, type: "image/jpeg" }))
            : [],
        })
      : null;
  }

  position(ms: number, durationMs: number): void {
    if (!("mediaSession" in navigator) || !navigator.mediaSession.setPositionState || !(durationMs > 0)) return;
    const duration = durationMs / 1000;
    navigator.mediaSession.setPositionState({ duration, position: Math.min(ms / 1000, duration), playbackRate: 1 });
  }
}
