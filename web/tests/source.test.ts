import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { type Bytes, idText } from "$lib/engine/bytes";
import { chooseDecoder } from "$lib/engine/decoder";
import { Packets, pages, vorbisHeaders, xiphDescription } from "$lib/engine/ogg";
import { Malformed } from "$lib/engine/bytes";
import { RecordStream } from "$lib/engine/records";
import { PcmSource } from "$lib/engine/source";
import { Doubler } from "$lib/engine/upsample";
import { FakeEdge, reference } from "./fake-edge";

const file = (name: string) => new Uint8Array(readFileSync(new URL(`../testdata/${name}`, import.meta.url))) as Bytes;
const ogg = file("tone-96.ogg");

describe("pages", () => {
  it("reads a file to its last sample", () => {
    const all = pages(ogg);
    expect(all.at(-1)!.last).toBe(true);
    expect(Number(all.at(-1)!.granule)).toBe(Math.round(4.321 * 44100));
  });
  it.each([1, 26, 30, 60])("refuses one cut off after %d bytes", (n) => {
    expect(() => pages(ogg.slice(0, n))).toThrow(Malformed);
  });
  it("refuses what is no page", () => {
    expect(() => pages(new Uint8Array(64))).toThrow(Malformed);
  });
});

describe("Packets", () => {
  const page = (lacing: number[], continued = false, fill = 1) => ({
    granule: 0n,
    continued,
    last: false,
    lacing: new Uint8Array(lacing),
    body: new Uint8Array(lacing.reduce((x, y) => x + y, 0)).fill(fill),
  });
  it("joins a packet over pages", () => {
    const p = new Packets();
    expect(p.take(page([10, 255]))).toHaveLength(1);
    expect(p.take(page([255], true)).length).toBe(0);
    const [long, short] = p.take(page([5, 7], true));
    expect([long!.length, short!.length]).toEqual([515, 7]);
  });
  it("drops the tail of a packet it never saw begin", () => {
    expect(new Packets().take(page([5, 7], true)).map((x) => x.length)).toEqual([7]);
  });
  it("keeps a packet of exactly 255 bytes", () => {
    expect(new Packets().take(page([255, 0])).map((x) => x.length)).toEqual([255]);
  });
});

describe("vorbisHeaders", () => {
  it("finds the three and lays them out for WebCodecs", () => {
    const n = pages(ogg).findIndex((p) => p.granule > 0n);
    const setup = ogg.slice(0, pages(ogg).slice(0, n).reduce((s, p) => s + 27 + p.lacing.length + p.body.length, 0));
    const h = vorbisHeaders(setup);
    expect(h.identification.length).toBe(30);
    const d = xiphDescription(h);
    expect([d[0], d[1]]).toEqual([2, 30]);
    expect(() => vorbisHeaders(setup.slice(0, 58))).toThrow(Malformed);
  });
});

describe("PcmSource", () => {
  it("cuts the two ends to the sample", async () => {
    const edge = new FakeEdge("webtransport");
    const id = idText(new Uint8Array(16).fill(1));
    await edge.put(id, 96, ogg);
    const session = await edge.session();
    const records = new RecordStream(session, { trackId: id, kbps: 96, fromMs: 1_000, headMs: 0 });
    const source = new PcmSource(session, await chooseDecoder("wasm"), records, 44_123, 70_001);
    const [want] = await reference(ogg);
    const got: number[] = [];
    for (let b = await source.next(); b; b = await source.next()) {
      expect(b.tick).toBe(44_123 + got.length);
      got.push(...b.left);
    }
    expect(got.length).toBe(70_001 - 44_123);
    expect(got.findIndex((x, i) => x !== want![44_123 + i])).toBe(-1);
    source.close();
  });
});

describe("Doubler", () => {
  it("keeps every sample, doubles the count and follows a sine between them", () => {
    const n = 2_000;
    const sine = (i: number) => Math.sin((2 * Math.PI * 1000 * i) / 22050);
    const d = new Doubler();
    const out = [
      ...d.push(Float32Array.from({ length: 700 }, (_, i) => sine(i))),
      ...d.push(Float32Array.from({ length: n - 700 }, (_, i) => sine(700 + i))),
      ...d.flush(),
    ];
    expect(out.length).toBe(2 * n);
    for (let i = 100; i < 2 * n - 100; i++) expect(out[i]).toBeCloseTo(sine(i / 2), 3);
  });
});
