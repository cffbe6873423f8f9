// The player: the queue, what sounds, and what the listener can do with it.
import { collect } from "$lib/api/clients";
import { auth } from "$lib/auth/auth.svelte";
import type { Kbps } from "$lib/engine/frames";
import type { FromWorker, PlayFacts } from "$lib/engine/messages";
import { tickRate } from "$lib/engine/source";
import type { TransportChoice } from "$lib/engine/transport";
import { Acts, type Reason } from "./acts";
import { deviceId, preferences, remember } from "./device";
import { type Facts, publishFacts } from "./facts";
import { artistText, library } from "./library.svelte";
import { Media } from "./media";
import * as q from "./queue";
import { type Local, Remote, repeatOf } from "./remote";
import { Spool } from "./spool";
import { Streaming } from "./streaming";
import { toasts } from "./toasts.svelte";

type Status = Extract<FromWorker, { t: "status" }>;
/** text is for the listener, detail for whoever looks for the cause. */
export type PlayerError = { code: string; text: string; detail: string };

const clickNow = () => performance.timeOrigin + performance.now();
const restAfterMs = 30_000;
/** What a start tells the server waits so long for its play id, which names its trace. */
const nameWaitMs = 50;
/** "Previous" goes back to the start of the track first. */
const restartMs = 4_000;

const errorText: Record<string, string> = {
  NOT_FOUND: "This track cannot be played yet.",
  NOT_ENTITLED: "This track is not available to you.",
  PLAYING_ELSEWHERE: "Playing on another device.",
  UNREACHABLE: "The connection was lost.",
  RATE_LIMITED: "Too many starts at once. Try again in a moment.",
  QUALITY_UNAVAILABLE: "No quality of this track can be played.",
};

class Player {
  queue = $state.raw<q.Queue>(q.emptyQueue);
  /** The listener wants sound; whether there is some, status tells. */
  playing = $state(false);
  status = $state.raw<Status | null>(null);
  facts = $state.raw<PlayFacts | null>(null);
  error = $state.raw<PlayerError | null>(null);
  ready = $state(false);
  decoder = $state("");
  settings = $state(preferences());
  muted = $state(false);
  seekMs = $state<number | null>(null);

  /** A start or a seek was asked for, and its sound is not there yet. */
  private pending = $state(false);

  readonly item = $derived(q.currentItem(this.queue));
  readonly track = $derived(this.item ? (library.get(this.item.trackId) ?? null) : null);
  readonly durationMs = $derived(
    this.facts?.total ? (this.facts.total * 1000) / tickRate : Number(this.track?.durationMs ?? 0n),
  );
  readonly positionMs = $derived(this.place());
  readonly waiting = $derived(this.playing && (this.status === null || this.status.waiting || this.pending));
  readonly upcoming = $derived(this.queue.items.slice(this.queue.index + 1));

  private readonly device = deviceId();
  private streaming: Streaming | null = null;
  private spool: Spool | null = null;
  private acts: Acts | null = null;
  private remote: Remote | null = null;
  private media: Media | null = null;
  private play = 0;
  private clickedAt = 0;
  /** The play that is asked for, or sounds. */
  private wanted = $state(0);
  /** Told the play id of the start that was asked for last. */
  private named: (playId: string) => void = () => {};
  private nextPlay: { play: number; index: number } | null = null;
  private reasons = new Map<number, Reason>();
  private heldMs = $state(0);
  private seekFrom: number | null = null;
  private lastTick = 0;
  private skipping = false;
  private loaded = false;
  private restTimer: ReturnType<typeof setTimeout> | undefined;
  private hinted: readonly string[] = [];
  private life = new AbortController();
  private tabs: BroadcastChannel | null = null;
  /** The play for which the player was already taken back from another device. */
  private tookBack = 0;
  private readonly history: Facts[] = [];

  /** Someone is signed in: the session is opened now, so that the first click needs no round trip for it. */
  start(): void {
    if (this.streaming) return;
    const streaming = new Streaming(this.device, (m) => this.hear(m));
    this.streaming = streaming;
    this.spool = new Spool(this.device, {
      send: async (device, sessionId, events) => {
        await collect.sendEvents({ deviceId: device, sessionId, events });
      },
    });
    this.acts = new Acts(this.spool, () => streaming.sessionId);
    this.remote = new Remote(
      this.device,
      () => this.local(),
      (name) => this.yield(name),
      () => streaming.renew(),
    );
    this.media = new Media({
      play: () => this.setPlaying(true),
      pause: () => this.setPlaying(false),
      next: () => this.next(),
      previous: () => this.previous(),
      seek: (ms) => this.seek(ms),
      seekBy: (ms) => this.seek(this.positionMs + ms),
      stop: () => this.setPlaying(false),
    });
    this.sendOptions();
    void streaming.open();
    this.spool.start().catch(() => undefined);
    void this.restore();
    this.listen(streaming);
  }

  private listen(streaming: Streaming): void {
    this.life = new AbortController();
    const { signal } = this.life;
    const visible = () => streaming.post({ t: "visible", on: document.visibilityState === "visible" });
    document.addEventListener("visibilitychange", visible, { signal });
    const leave = () => {
      this.acts?.closed();
      this.spool?.leave(auth.present);
    };
    addEventListener("pagehide", leave, { signal });
    const warm = () => {
      streaming.output.open().then(
        () => streaming.output.setVolume(this.volumeNow()),
        () => toasts.say("This browser has no sound for the player."),
      );
    };
    addEventListener("pointerdown", warm, { once: true, capture: true, signal });
    addEventListener("keydown", warm, { once: true, capture: true, signal });
    // Two tabs are one device: the one that was asked last plays.
    this.tabs = new BroadcastChannel("segue.playing");
    this.tabs.onmessage = () => this.playing && this.setPlaying(false);
  }

  private async restore(): Promise<void> {
    const remote = this.remote!;
    try {
      const state = await remote.load();
      if (state && state.queue.length > 0 && this.queue.items.length === 0) {
        const items = state.queue.map((i) => ({ trackId: i.trackId, context: i.contextUri }));
        this.queue = { ...q.start(q.emptyQueue, items, state.index), repeat: repeatOf(state.repeat) };
        this.heldMs = Number(state.positionMs);
        library.want([items[state.index]?.trackId ?? ""].filter(Boolean));
      }
    } catch {
      // Without it the player begins empty; watch() below tries on.
    }
    void remote.watch();
  }

  // What the listener does.

  /** Plays a list from one of its tracks. The sound is asked for before anything else happens. */
  playList(trackIds: readonly string[], index: number, context: string): void {
    const items = trackIds.map((trackId) => ({ trackId, context }));
    const on = this.queue.original !== null;
    let queue = q.start(this.queue, items, index);
    if (on) queue = q.shuffle(queue, true, Math.random);
    this.begin(queue, "click", 0);
  }

  toggle(): void {
    this.setPlaying(!this.playing);
  }

  setPlaying(on: boolean): void {
    if (on === this.playing && this.loaded) return;
    if (!this.item) return;
    if (on && (!this.loaded || this.error)) return this.begin(this.queue, "click", this.positionMs);
    this.streaming?.post({ t: "run", on });
    this.playing = on;
    if (on) this.acts?.resumed(this.tickNow());
    else this.acts?.paused(this.tickNow());
    this.sound(on);
    this.remote?.changed(on && !this.remote.isActive);
    if (on) this.tabs?.postMessage("playing");
  }

  next(): void {
    const index = q.skipTarget(this.queue);
    if (index === null) return;
    this.skipping = true;
    this.begin({ ...this.queue, index }, "next", 0);
  }

  previous(): void {
    const index = q.previous(this.queue);
    if (this.positionMs > restartMs || index === null) return this.seek(0);
    this.skipping = true;
    this.begin({ ...this.queue, index }, "previous", 0);
  }

  jump(index: number): void {
    if (!this.queue.items[index]) return;
    this.skipping = true;
    this.begin({ ...this.queue, index }, "click", 0);
  }

  seek(ms: number): void {
    const to = Math.max(0, Math.min(ms, Math.max(0, this.durationMs - 50)));
    if (!this.loaded) {
      this.heldMs = to;
      return;
    }
    this.streaming?.post({ t: "seek", play: this.wanted, toMs: to, clickedAt: clickNow() });
    this.seekFrom ??= this.tickNow();
    this.heldMs = to;
    this.pending = true;
    this.remote?.changed(false);
  }

  setQueue(queue: q.Queue): void {
    this.queue = queue;
    this.tellNext();
    this.remote?.changed(false);
  }

  setVolume(volume: number): void {
    this.settings.volume = Math.max(0, Math.min(1, volume));
    this.muted = false;
    remember("volume", String(this.settings.volume));
    this.streaming?.output.setVolume(this.volumeNow());
    this.remote?.changed(false);
  }

  toggleMute(): void {
    this.muted = !this.muted;
    this.streaming?.output.setVolume(this.volumeNow());
  }

  setQuality(kbps: Kbps | 0): void {
    this.settings.quality = kbps;
    remember("quality", String(kbps));
    this.sendOptions();
    const again = this.hinted;
    this.hinted = [];
    this.hint(again);
    this.remote?.changed(false);
  }

  setNormalise(on: boolean): void {
    this.settings.normalise = on;
    remember("normalise", on ? "on" : "off");
    this.sendOptions();
  }

  setTransport(choice: TransportChoice): void {
    this.settings.transport = choice;
    remember("transport", choice);
    this.sendOptions();
  }

  /** Tracks that may be wanted soon: their first seconds are fetched. */
  hint(trackIds: readonly string[]): void {
    if (!this.ready || trackIds.join() === this.hinted.join()) return;
    this.hinted = trackIds;
    this.streaming?.post({ t: "heads", tracks: trackIds.map((id) => this.ask(id)) });
  }

  stop(): void {
    this.streaming?.post({ t: "stop" });
    this.playing = false;
    this.loaded = false;
    this.sound(false);
  }

  /** Signed out: nothing of the listener stays. */
  close(): void {
    this.stop();
    this.remote?.close();
    this.life.abort();
    this.tabs?.close();
    this.streaming?.close();
    this.streaming = null;
    this.queue = q.emptyQueue;
    this.status = this.facts = this.error = null;
    this.ready = false;
  }

  // How it is done.

  /** clickedAt is when it was wished for: what is begun again still counts from there. */
  private begin(queue: q.Queue, reason: Reason, fromMs: number, clickedAt = clickNow()): void {
    const item = q.currentItem(queue);
    if (!item || !this.streaming) return;
    const play = ++this.play;
    this.clickedAt = clickedAt;
    this.streaming.post({ t: "load", play, track: this.ask(item.trackId), fromMs, running: true, clickedAt });
    void this.streaming.output.resume().catch(() => undefined);
    this.media?.playing(true);
    this.queue = queue;
    this.wanted = play;
    this.reasons.set(play, reason);
    this.nextPlay = null;
    this.playing = this.loaded = this.pending = true;
    this.heldMs = fromMs;
    this.error = null;
    clearTimeout(this.restTimer);
    library.want(this.queue.items.slice(queue.index, queue.index + 6).map((i) => i.trackId));
    this.tellNext();
    this.remote?.changed(true, this.nameOfStart());
    this.tabs?.postMessage("playing");
    this.streaming.output.setVolume(this.volumeNow());
  }

  /** The play id of the start just asked for, as soon as the worker tells it; empty when it waits for a session. */
  private nameOfStart(): Promise<string> {
    return new Promise((resolve) => {
      this.named = resolve;
      setTimeout(resolve, nameWaitMs, "");
    });
  }

  private ask(trackId: string) {
    return { trackId, available: library.available(trackId) };
  }

  private sendOptions(): void {
    const { quality, normalise, transport } = this.settings;
    const decoder = new URLSearchParams(location.search).get("decoder") === "wasm" ? ("wasm" as const) : undefined;
    this.streaming?.post({ t: "options", quality, normalise, transport, ...(decoder && { decoder }) });
  }

  private tellNext(): void {
    const index = q.following(this.queue);
    const item = index === null ? null : this.queue.items[index];
    if (!item || index === null) {
      this.nextPlay = null;
      this.streaming?.post({ t: "next", play: 0, track: null });
      return;
    }
    this.nextPlay = { play: ++this.play, index };
    this.streaming?.post({ t: "next", play: this.nextPlay.play, track: this.ask(item.trackId) });
  }

  private sound(on: boolean): void {
    this.media?.playing(on);
    clearTimeout(this.restTimer);
    if (on) void this.streaming?.output.resume().catch(() => undefined);
    else this.restTimer = setTimeout(() => void this.streaming?.output.rest(), restAfterMs);
  }

  private volumeNow(): number {
    return this.muted ? 0 : this.settings.volume;
  }

  private tickNow(): number {
    return Math.round((this.positionMs * tickRate) / 1000);
  }

  private place(): number {
    if (this.pending || !this.status?.facts || this.status.facts.play !== this.wanted) return this.heldMs;
    return (this.status.tick * 1000) / tickRate;
  }

  private local(): Local {
    return {
      items: this.queue.items,
      index: this.queue.index,
      positionMs: this.positionMs,
      playing: this.playing,
      shuffle: this.queue.original !== null,
      repeat: this.queue.repeat,
      volume: this.settings.volume,
      kbps: this.settings.quality,
    };
  }

  private yield(name: string): void {
    if (!this.playing) return;
    this.setPlaying(false);
    toasts.say(name ? `Playing on ${name} now.` : "Playing on another device now.");
  }

  // What the worker tells.

  private hear(m: FromWorker): void {
    switch (m.t) {
      case "ready":
        this.ready = true;
        this.decoder = m.decoder;
        if (this.loaded) this.begin(this.queue, this.reasons.get(this.wanted) ?? "click", this.positionMs, this.clickedAt);
        return;
      case "session-lost":
        void this.streaming?.open();
        return;
      case "loading":
        if (m.play === this.wanted) this.named(m.playId);
        return;
      case "buffered":
        if (m.facts.play !== this.wanted) return;
        this.facts = m.facts;
        this.pending = false;
        if (m.seekMs !== null) this.seekDone(m.facts, m.seekMs);
        return;
      case "audible":
        return this.audible(m.facts, m.tick);
      case "gone":
        return this.gone(m.facts, m.finished);
      case "ended":
        if (m.play === this.wanted) this.ended();
        return;
      case "quality":
        this.acts?.quality(m.facts, m.from, m.to);
        return;
      case "failed":
        return this.failed(m);
      case "status":
        return this.report(m);
    }
  }

  private seekDone(facts: PlayFacts, seekMs: number): void {
    this.seekMs = seekMs;
    const from = this.seekFrom ?? 0;
    this.seekFrom = null;
    this.acts?.seeked(facts, from, Math.round((this.heldMs * tickRate) / 1000), seekMs);
  }

  private audible(facts: PlayFacts, tick: number): void {
    let reason = this.reasons.get(facts.play);
    if (this.nextPlay && facts.play === this.nextPlay.play) {
      this.queue = { ...this.queue, index: this.nextPlay.index };
      this.wanted = facts.play;
      this.heldMs = 0;
      reason = "autoplay";
      this.tellNext();
      this.remote?.changed(false);
    }
    this.reasons.delete(facts.play);
    this.facts = facts;
    this.acts?.started(facts, tick, reason ?? "autoplay", this.item?.context ?? "");
    library.want(this.queue.items.slice(this.queue.index, this.queue.index + 6).map((i) => i.trackId));
    this.hint(this.queue.items.slice(this.queue.index + 2, this.queue.index + 4).map((i) => i.trackId));
  }

  private gone(facts: PlayFacts, finished: boolean): void {
    const skipped = !finished && this.skipping;
    this.skipping = false;
    const reason = finished ? "track_end" : this.loaded ? "replaced" : "stopped";
    this.acts?.ended(facts, reason, this.lastTick, skipped);
    this.history.push({ ...facts, finished });
    if (this.history.length > 100) this.history.shift();
    publishFacts(this, this.history);
  }

  private ended(): void {
    this.playing = this.loaded = false;
    this.heldMs = 0;
    this.sound(false);
    this.remote?.changed(false);
  }

  private failed(m: Extract<FromWorker, { t: "failed" }>): void {
    if (m.play !== this.wanted && m.play !== 0) return;
    // Asked for here while another device was the active one: this one takes over first.
    if (m.code === "PLAYING_ELSEWHERE" && this.playing && this.tookBack !== m.play) return void this.takeBack();
    this.acts?.failed(m);
    this.error = { code: m.code, text: errorText[m.code] ?? "This track could not be played.", detail: m.message };
    this.pending = this.loaded = false;
    const skip = m.code === "NOT_FOUND" || m.code === "NOT_ENTITLED";
    const index = q.skipTarget(this.queue);
    if (skip && index !== null && index > this.queue.index) {
      toasts.say(`${this.error.text} Going on with the next.`);
      return this.begin({ ...this.queue, index }, "autoplay", 0);
    }
    this.playing = false;
    this.sound(false);
    toasts.say(this.error.text);
  }

  private async takeBack(): Promise<void> {
    const play = this.wanted;
    await this.remote?.take();
    if (play !== this.wanted || !this.playing) return;
    this.begin(this.queue, this.reasons.get(play) ?? "click", this.positionMs);
    this.tookBack = this.wanted;
  }

  private report(s: Status): void {
    this.status = s;
    publishFacts(this, this.history);
    if (!s.facts || s.facts.play !== this.wanted) return;
    this.facts = s.facts;
    if (!this.pending) {
      this.heldMs = (s.tick * 1000) / tickRate;
      this.lastTick = s.tick;
    }
    this.acts?.progress(s.facts, s.tick, s.underruns);
    if (s.running) this.media?.position(this.positionMs, this.durationMs);
  }

  /** Tells the system what plays; called when the track or what is known of it changes. */
  announce(): void {
    const t = this.track;
    this.media?.track(
      t && { title: t.title, artist: artistText(t.credits), album: t.albumTitle, artwork: t.artwork?.id ?? "" },
    );
  }

  get outputState(): string {
    return this.streaming?.output.state ?? "closed";
  }

  get eventsWaiting(): number {
    return this.spool?.waiting ?? 0;
  }

  /** For tests that end a page by themselves: sends what is held. */
  flushEvents(): Promise<void> {
    return this.spool?.flush() ?? Promise.resolve();
  }
}

export const player = new Player();
