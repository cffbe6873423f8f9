// The listener's one player, shared by their devices: this device tells what it does, and stops
// when another one takes over. Every change is a compare-and-set on the revision.
import { Code, ConnectError } from "@connectrpc/connect";
import { create } from "@bufbuild/protobuf";
import { players } from "$lib/api/clients";
import { traceparent } from "$lib/api/trace";
import { type PlayerState, PlayerStateSchema, Repeat as PbRepeat } from "$lib/gen/segue/playback/v1/playback_pb";
import type { Repeat } from "./queue";

export interface Local {
  items: readonly { trackId: string; context: string }[];
  index: number;
  positionMs: number;
  playing: boolean;
  shuffle: boolean;
  repeat: Repeat;
  volume: number;
  kbps: number;
}

const settleMs = 300;
const pauses = [1_000, 3_000, 10_000, 30_000];
const delay = (ms: number, signal: AbortSignal) =>
  new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });

const toPb: Record<Repeat, PbRepeat> = { off: PbRepeat.UNSPECIFIED, all: PbRepeat.ALL, one: PbRepeat.ONE };
export const repeatOf = (r: PbRepeat): Repeat => (r === PbRepeat.ALL ? "all" : r === PbRepeat.ONE ? "one" : "off");

export class Remote {
  private revision = 0n;
  private active = "";
  private epoch = 0n;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private sending = false;
  private again = false;
  private activate = false;
  private act: Promise<string> | null = null;
  private readonly stop = new AbortController();

  constructor(
    private readonly deviceId: string,
    private readonly local: () => Local,
    /** Another device is the active one now. */
    private readonly takenOver: (name: string) => void,
    /** The active device changed: a ticket from before is of an old epoch. */
    private readonly epochRaised: () => Promise<void>,
  ) {}

  get isActive(): boolean {
    return this.active === this.deviceId;
  }

  /** What the listener left behind, here or elsewhere. */
  async load(): Promise<PlayerState | null> {
    const { state } = await players.getPlayer({});
    this.know(state);
    return state ?? null;
  }

  private know(state: PlayerState | undefined): void {
    if (!state || state.revision < this.revision) return;
    this.revision = state.revision;
    this.active = state.activeDeviceId;
    const raised = this.epoch !== 0n && state.activeEpoch > this.epoch;
    this.epoch = state.activeEpoch;
    if (raised) this.renewed = this.epochRaised();
  }
  private renewed: Promise<void> = Promise.resolve();

  /** Resolves when this device is the active one, with a ticket that says so, as far as it can be had. */
  async take(): Promise<void> {
    this.activate = true;
    await this.update().catch(() => undefined);
    await this.renewed;
  }

  /** Something changed here. take: this device is the one that plays. act: the start it is part of. */
  changed(take: boolean, act: Promise<string> | null = null): void {
    this.activate ||= take;
    if (act) this.act = act;
    this.timer ??= setTimeout(() => void this.push(), take ? 0 : settleMs);
  }

  private async push(): Promise<void> {
    this.timer = undefined;
    if (this.sending) {
      this.again = true;
      return;
    }
    this.sending = true;
    try {
      await this.update();
    } catch {
      // The next change tells everything again.
    } finally {
      this.sending = false;
      if (this.again) {
        this.again = false;
        this.changed(false);
      }
    }
  }

  private async update(): Promise<void> {
    for (let attempt = 0; attempt < 5; attempt++) {
      const activate = this.activate;
      // A device that is not the active one has nothing to say about the player.
      if (!activate && !this.isActive) return;
      const act = this.act;
      const headers = { traceparent: traceparent(act ? await act : "") };
      try {
        const { state } = await players.updatePlayer(
          { revision: this.revision, deviceId: this.deviceId, activate, state: this.message() },
          { headers },
        );
        this.activate = false;
        if (this.act === act) this.act = null;
        this.know(state);
        return;
      } catch (e) {
        const code = ConnectError.from(e).code;
        if (code !== Code.Aborted && code !== Code.FailedPrecondition && code !== Code.AlreadyExists) throw e;
        await this.load();
      }
    }
  }

  private message(): PlayerState {
    const l = this.local();
    return create(PlayerStateSchema, {
      queue: l.items.map((i) => ({ trackId: i.trackId, contextUri: i.context })),
      index: Math.max(0, l.index),
      positionMs: BigInt(Math.max(0, Math.round(l.positionMs))),
      playing: l.playing,
      shuffle: l.shuffle,
      repeat: toPb[l.repeat],
      volumeMilli: Math.round(l.volume * 1000),
      qualityKbps: l.kbps,
    });
  }

  /** Follows the player until closed; a lost stream is taken up again from the revision held. */
  async watch(): Promise<void> {
    const signal = this.stop.signal;
    for (let attempt = 0; !signal.aborted; attempt++) {
      try {
        for await (const { state } of players.watchPlayer({ sinceRevision: this.revision }, { signal })) {
          attempt = 0;
          if (!state || state.revision <= this.revision) continue;
          const was = this.active;
          this.know(state);
          if (this.active !== was && this.active !== "" && !this.isActive) {
            this.takenOver(state.devices.find((d) => d.id === this.active)?.name ?? "");
          }
        }
      } catch {
        // Reconnected below.
      }
      await delay(pauses[Math.min(attempt, pauses.length - 1)]!, signal);
    }
  }

  close(): void {
    clearTimeout(this.timer);
    this.stop.abort();
  }
}
