import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { type Bytes, idText } from "$lib/engine/bytes";
import { chooseDecoder } from "$lib/engine/decoder";
import type { Kbps } from "$lib/engine/frames";
import { type Env, Play } from "$lib/engine/play";
import { FakeEdge, reference } from "./fake-edge";

const file = (name: string) => new Uint8Array(readFileSync(new URL(`../testdata/${name}`, import.meta.url))) as Bytes;
const id = idText(new Uint8Array(16).fill(0xa));

async function setup(gain = { trackDb: 0, peakDb: 0 }) {
  const edge = new FakeEdge("webtransport");
  await edge.put(id, 96, file("tone-96.ogg"), gain);
  await edge.put(id, 160, file("tone-160.ogg"), gain);
  const changes: [Kbps, Kbps][] = [];
  let wanted: Kbps = 96;
  const env: Env = {
    session: await edge.session(),
    maker: await chooseDecoder("wasm"),
    wanted: () => wanted,
    normalise: () => true,
    switchAhead: 44_100,
    changed: (_, from, to) => changes.push([from, to]),
  };
  const play = new Play(env, 1, { trackId: id, available: [] }, 0, null, 0);
  return { play, changes, want: (kbps: Kbps) => (wanted = kbps) };
}

/** Takes all sound; behind each record (0.25 s) other work has its turn, as it has in a player. */
async function drain(play: Play, at: (tick: number) => void = () => {}, pauseMs = 0): Promise<number[]> {
  const out: number[] = [];
  for (let b = await play.next(); b; b = await play.next()) {
    expect(b.tick).toBe(out.length);
    out.push(...b.left);
    at(out.length);
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
  return out;
}

describe("Play", () => {
  it("changes the quality on the exact sample", async () => {
    const { play, changes, want } = await setup();
    const [low] = await reference(file("tone-96.ogg"));
    const [high] = await reference(file("tone-160.ogg"));
    const got = await drain(play, (tick) => tick > 30_000 && want(160), 100);
    expect(got.length).toBe(low!.length);
    expect(changes).toEqual([[96, 160]]);
    const at = got.findIndex((x, i) => x !== low![i]);
    expect(at).toBeGreaterThan(70_000);
    expect(at).toBeLessThan(100_000);
    // Behind the switch there is nothing but the other rendition, in its own place.
    expect(got.findIndex((x, i) => i >= at && x !== high![i])).toBe(-1);
    play.close();
  });

  it.each([
    ["lowers what is loud", { trackDb: -6, peakDb: 0 }, -6],
    ["raises what is soft, but not into clipping", { trackDb: 8, peakDb: -3 }, 3],
    ["leaves what may not be raised", { trackDb: 5, peakDb: 1 }, 0],
  ])("%s", async (_, gain, db) => {
    const { play } = await setup(gain);
    const [plain] = await reference(file("tone-96.ogg"));
    const got = await drain(play);
    expect(play.facts.gainDb).toBe(db);
    const factor = 10 ** (db / 20);
    for (let i = 1000; i < 2000; i++) expect(got[i]).toBeCloseTo(plain![i]! * factor, 5);
    play.close();
  });

  it("decodes through to a seek a little ahead without asking again", async () => {
    const { play } = await setup();
    await play.next();
    while (!play.received) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(play.seek(44_100)).toBe(true);
    const b = await play.next();
    const [plain] = await reference(file("tone-96.ogg"));
    expect(b!.tick).toBe(44_100);
    expect([...b!.left.subarray(0, 100)]).toEqual([...plain!.subarray(44_100, 44_200)]);
    expect(play.seek(0)).toBe(false);
    expect((await play.next())!.tick).toBe(0);
    play.close();
  });
});
