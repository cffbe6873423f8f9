// What the listener did, as events: every start, pause, seek, skip and end of every play.
import { type MessageInitShape, create } from "@bufbuild/protobuf";
import { idText, newId } from "$lib/engine/bytes";
import type { PlayFacts } from "$lib/engine/messages";
import { tickRate } from "$lib/engine/source";
import { ClientEventSchema } from "$lib/gen/segue/collect/v1/collect_pb";
import type { Spool } from "./spool";

type Payload = NonNullable<MessageInitShape<typeof ClientEventSchema>["payload"]>;

/** A crash of the player costs at most this much of what was heard; every act is told at once. */
const progressTicks = 30 * tickRate;
const ms = (ticks: number) => BigInt(Math.round((ticks * 1000) / tickRate));
const ids = (f: { playId: string; trackId: string }) => ({ playId: f.playId, trackId: f.trackId });

/** How a play came to be: click, next, previous, autoplay, remote. */
export type Reason = "click" | "next" | "previous" | "autoplay" | "remote";

export class Acts {
  private facts: PlayFacts | null = null;
  private reported = 0;
  private underruns = 0;
  private underrunsBefore = 0;

  constructor(
    private readonly spool: Spool,
    private readonly sessionId: () => string,
  ) {}

  started(facts: PlayFacts, tick: number, reason: Reason, context: string): void {
    this.facts = facts;
    this.reported = 0;
    this.underrunsBefore = this.underruns;
    this.add({
      case: "started",
      value: {
        ...ids(facts),
        qualityKbps: facts.kbps,
        positionMs: ms(tick),
        context: { uri: context },
        reason,
        startMs: Math.max(0, Math.round(facts.startMs)),
        transport: facts.transport ?? "",
      },
    });
  }

  /** Called with every status: reports each 30 s of sound heard. */
  progress(facts: PlayFacts, tick: number, underruns: number): void {
    this.underruns = underruns;
    if (facts.playId !== this.facts?.playId) return;
    this.facts = facts;
    if (facts.heard - this.reported < progressTicks) return;
    this.reported = facts.heard;
    this.add({
      case: "progress",
      value: {
        ...ids(facts),
        positionMs: ms(tick),
        heardMs: ms(facts.heard),
        underruns: underruns - this.underrunsBefore,
      },
    });
  }

  paused(tick: number): void {
    const f = this.facts;
    if (f) this.add({ case: "paused", value: { ...ids(f), positionMs: ms(tick), heardMs: ms(f.heard) } });
  }

  resumed(tick: number): void {
    const f = this.facts;
    if (f) this.add({ case: "resumed", value: { ...ids(f), positionMs: ms(tick) } });
  }

  seeked(facts: PlayFacts, fromTick: number, toTick: number, seekMs: number): void {
    this.add({
      case: "seeked",
      value: { ...ids(facts), fromMs: ms(fromTick), toMs: ms(toTick), seekMs: Math.max(0, Math.round(seekMs)) },
    });
  }

  /** reason: track_end, stopped, error, replaced, closed. */
  ended(facts: PlayFacts, reason: string, tick: number, skipped: boolean): void {
    if (skipped) {
      this.add({ case: "skipped", value: { ...ids(facts), positionMs: ms(tick), heardMs: ms(facts.heard) } });
    }
    this.add({ case: "ended", value: { ...ids(facts), heardMs: ms(facts.heard), reason } });
    if (this.facts?.playId === facts.playId) this.facts = null;
  }

  failed(f: { playId: string; trackId: string; code: string; message: string }): void {
    this.add({ case: "error", value: { ...ids(f), code: f.code, message: f.message.slice(0, 256) } });
  }

  quality(facts: PlayFacts, from: number, to: number): void {
    this.add({ case: "quality", value: { ...ids(facts), fromKbps: from, toKbps: to } });
  }

  /** The page goes away while something plays. */
  closed(): void {
    if (this.facts) this.ended(this.facts, "closed", 0, false);
  }

  private add(payload: Payload): void {
    const event = create(ClientEventSchema, { id: idText(newId()), clientUnixMs: BigInt(Date.now()), payload });
    void this.spool.add(this.sessionId(), event);
  }
}
