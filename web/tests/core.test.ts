// The whole streaming core against an edge in memory: real Vorbis, real encryption, exact samples.
import { readFileSync } from "node:fs";
import { afterEach, describe, expect, it } from "vitest";
import { type Bytes, idText } from "$lib/engine/bytes";
import { Core } from "$lib/engine/core";
import { chooseDecoder } from "$lib/engine/decoder";
import type { FromWorker } from "$lib/engine/messages";
import { Control, RingReader, distance, ringBytes, ringFrames, ringOver } from "$lib/engine/ring";
import { SharedRing } from "$lib/engine/ring-writer";
import type { TransportKind } from "$lib/engine/transport";
import { FakeEdge, reference } from "./fake-edge";

const file = (name: string) => new Uint8Array(readFileSync(new URL(`../testdata/${name}`, import.meta.url))) as Bytes;
const tone96 = file("tone-96.ogg");
const tone160 = file("tone-160.ogg");
const a = idText(new Uint8Array(16).fill(0xa));
const b = idText(new Uint8Array(16).fill(0xb));
const track = (trackId: string) => ({ trackId, available: [] });

const open: (() => void)[] = [];
afterEach(() => open.splice(0).forEach((close) => close()));

async function listener(kind: TransportKind, quality: 96 | 160 = 96) {
  const edge = new FakeEdge(kind);
  await edge.put(a, 96, tone96);
  await edge.put(b, 96, tone96);
  await edge.put(a, 160, tone160);
  const buffer = new SharedArrayBuffer(ringBytes(ringFrames));
  const memory = ringOver(buffer);
  const reader = new RingReader(memory);
  const heard: FromWorker[] = [];
  const core = new Core(await edge.session(), await chooseDecoder("wasm"), new SharedRing(buffer), (m) => heard.push(m));
  core.setOptions({ quality, normalise: true });
  const left: number[] = [];
  const block = [new Float32Array(128), new Float32Array(128)] as const;
  // The sound card, a good deal faster than a real one. It waits for the core where a real one would not:
  // how much this machine gets done in a millisecond is not what is tested.
  let paused = true;
  const served = () => {
    const [c, load] = [memory.control, Atomics.load];
    const held = distance(load(c, Control.read), load(c, Control.write));
    return held > 16_384 || load(c, Control.ended) === 1 || load(c, Control.flushSeq) !== load(c, Control.flushAck);
  };
  const card = setInterval(() => {
    for (let i = 0; i < 20 && !paused && served(); i++) {
      reader.process(...block);
      left.push(...block[0]);
    }
    core.poll();
  }, 1);
  open.push(() => (clearInterval(card), core.stop()));
  const until = async <T extends FromWorker["t"]>(t: T, where: (m: Extract<FromWorker, { t: T }>) => boolean = () => true) => {
    for (;;) {
      const m = heard.find((x): x is Extract<FromWorker, { t: T }> => x.t === t && where(x as never));
      if (m) return m;
      const failed = heard.find((x) => x.t === "failed");
      if (failed && t !== "failed") throw new Error(JSON.stringify(failed));
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  };
  const run = () => (paused = false);
  return { edge, core, heard, left, until, run };
}

/** Index of the first sample that differs; -1: none. */
function difference(got: readonly number[], at: number, want: ArrayLike<number>): number {
  for (let i = 0; i < want.length; i++) if (got[at + i] !== want[i]) return i;
  return -1;
}

/** Where the sound of a recording begins in what was played, by its first loud samples. */
function find(played: readonly number[], wanted: Float32Array, from = 0): number {
  for (let at = from; at + 64 < played.length; at++) {
    let i = 0;
    while (i < 64 && played[at + i] === wanted[i]) i++;
    if (i === 64) return at;
  }
  return -1;
}

describe.each(["webtransport", "fetch"] as const)("over %s", (kind) => {
  it("plays a track to its last sample and says what was heard", async () => {
    const l = await listener(kind);
    const [want] = await reference(tone96);
    l.core.load(1, track(a), 0, true, 0);
    await l.until("buffered");
    l.run();
    await l.until("ended");
    const gone = await l.until("gone");
    expect(gone).toMatchObject({ finished: true, facts: { total: want!.length, heard: want!.length, written: want!.length, missing: 0, transport: kind } });
    // Behind the fade-in every sample is the decoder's own.
    const skip = 512;
    const at = find(l.left, want!.subarray(skip));
    expect(at).toBeGreaterThanOrEqual(0);
    expect(difference(l.left, at, want!.subarray(skip))).toBe(-1);
  });

  it("joins the next track to the sample", async () => {
    const l = await listener(kind);
    const [want] = await reference(tone96);
    l.core.load(1, track(a), 0, true, 0);
    l.core.setNext(2, track(b));
    await l.until("buffered");
    l.run();
    await l.until("ended", (m) => m.play === 2);
    const skip = 512;
    const at = find(l.left, want!.subarray(skip));
    const whole = [...want!.subarray(skip), ...want!];
    expect(difference(l.left, at, whole)).toBe(-1);
    expect(l.heard.filter((m) => m.t === "audible").map((m) => m.t === "audible" && m.facts.play)).toEqual([1, 2]);
    // The next track's head was asked for as a prefetch, and by itself.
    const next = l.edge.asks.find((x) => x.track.startsWith("0b"))!;
    expect([next.flags & 1, next.untilMs]).toEqual([1, 10_000]);
  });

  it("seeks to the sample", async () => {
    const l = await listener(kind);
    const [want] = await reference(tone96);
    for (const [play, ms] of [2_345, 0, 4_300, 1_111].entries()) {
      l.heard.length = l.left.length = 0;
      l.core.load(play, track(a), ms, true, 0);
      await l.until("buffered");
      l.run();
      await l.until("ended");
      const tick = Math.round(ms * 44.1);
      const facts = (await l.until("gone")).facts;
      expect(facts.heard).toBe(want!.length - tick);
      const skip = 512;
      if (want!.length - tick < 2 * skip) continue;
      const at = find(l.left, want!.subarray(tick + skip));
      expect(at).toBeGreaterThanOrEqual(0);
      expect(difference(l.left, at, want!.subarray(tick + skip))).toBe(-1);
    }
  });

  it("goes on in the middle of a record when the connection is cut", async () => {
    const l = await listener(kind);
    const [want] = await reference(tone96);
    l.edge.cutAfter = 5;
    l.core.load(1, track(a), 0, true, 0);
    await l.until("buffered");
    // The sound card waits, so that the cut falls into the reserve.
    while (l.edge.asks.length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
    l.run();
    await l.until("ended");
    expect((await l.until("gone")).facts.heard).toBe(want!.length);
    expect(l.edge.asks[1]).toMatchObject({ flags: 2 | 8, setups: 1 });
    expect(l.edge.asks[1]!.playId).not.toBe(l.edge.asks[0]!.playId);
  });

  it("sends nothing of the file in clear but the codec's setup", async () => {
    const l = await listener(kind);
    l.core.load(1, track(a), 0, true, 0);
    await l.until("buffered");
    l.run();
    await l.until("ended");
    const [, ...records] = l.edge.wire;
    expect(records.length).toBeGreaterThan(10);
    for (const r of records) expect(new TextDecoder("latin1").decode(r)).not.toMatch(/OggS|vorbis/);
  });
});

describe("Core", () => {
  it("renews a ticket that ran out, and asks again", async () => {
    const l = await listener("webtransport");
    l.edge.refuse = [2];
    l.core.load(1, track(a), 0, true, 0);
    await l.until("buffered");
    expect(l.edge.asks).toHaveLength(2);
  });

  it("takes another quality when one is not there", async () => {
    const l = await listener("webtransport", 160);
    l.core.load(1, track(b), 0, true, 0);
    const m = await l.until("buffered");
    expect(m.facts.kbps).toBe(96);
    expect(l.edge.asks.map((x) => x.kbps)).toEqual([160, 96]);
  });

  it("says why a track cannot be played", async () => {
    const l = await listener("webtransport");
    l.edge.refuse = [5];
    l.core.load(1, track(a), 0, true, 0);
    expect(await l.until("failed")).toMatchObject({ play: 1, trackId: a, code: "NOT_ENTITLED" });
  });

  it("starts from a head that was fetched ahead without another request for it", async () => {
    const l = await listener("webtransport");
    l.core.setHeads([track(a)]);
    // HEAD and the records of 2 s.
    while (l.edge.wire.length < 9) await new Promise((resolve) => setTimeout(resolve, 2));
    l.core.load(1, track(a), 0, true, 0);
    const m = await l.until("buffered");
    expect(m.facts.prefetched).toBe(true);
    expect(l.edge.asks[0]).toMatchObject({ flags: 1 | 8, untilMs: 2_000 });
    l.run();
    await l.until("ended");
    expect((await l.until("gone")).facts.heard).toBe(l.edge.totalSamples(a, 96));
    // What follows the head continues it.
    expect(l.edge.asks[1]!.fromMs).toBeGreaterThan(1_500);
    expect(m.facts.playId.length).toBe(22);
  });

  it("drops the sound of a next track that is no longer next", async () => {
    const l = await listener("webtransport");
    l.core.load(1, track(a), 3_000, true, 0);
    l.core.setNext(2, track(b));
    await l.until("buffered");
    await new Promise((resolve) => setTimeout(resolve, 100));
    l.core.setNext(3, null);
    l.run();
    expect(await l.until("ended")).toMatchObject({ play: 1 });
    expect(l.heard.some((m) => m.t === "audible" && m.facts.play === 2)).toBe(false);
  });
});
