import { describe, expect, it } from "vitest";
import { type Bytes, Malformed, concat, hex, varint } from "$lib/engine/bytes";
import { FrameReader, encodeCredit, encodePlay } from "$lib/engine/frames";
import { headFrame, sampleHead } from "./fake-edge";

const raw = (type: number, payload: Bytes) => concat(varint(type), varint(payload.length), payload);

describe("encodePlay", () => {
  it("lays the fields out as the protocol says", () => {
    const frame = encodePlay({
      flags: 1,
      track: new Uint8Array(16).fill(0xaa),
      playId: new Uint8Array(16).fill(0xbb),
      kbps: 160,
      fromMs: 1000,
      untilMs: 0,
      creditMs: 10_000,
      setups: [new Uint8Array(8).fill(0xcc)],
      ticket: new Uint8Array([0xdd, 0xee]),
    });
    expect(hex(frame)).toBe(
      "01" + "35" + "0101" + "aa".repeat(16) + "bb".repeat(16) + "03" + "01" + "43e8" + "00" + "6710" + "01" + "cc".repeat(8) + "02ddee",
    );
  });
});

describe("encodeCredit", () => {
  it("is a varint", () => expect(hex(encodeCredit(20_000))).toBe("020480004e20"));
});

describe("FrameReader", () => {
  const rec = raw(0x11, concat(varint(7), new Uint8Array([1, 2, 3])));
  const end = raw(0x13, new Uint8Array([1, 7]));

  it("cuts frames out of any pieces", () => {
    const all = concat(headFrame(sampleHead()), rec, end);
    for (const size of [1, 2, 7, 64, all.length]) {
      const reader = new FrameReader();
      const types: string[] = [];
      for (let at = 0; at < all.length; at += size) {
        reader.push(all.slice(at, at + size));
        for (let f = reader.next(); f; f = reader.next()) types.push(f.type);
      }
      expect(types).toEqual(["head", "rec", "end"]);
      expect(reader.empty).toBe(true);
    }
  });

  it("reads HEAD whole", () => {
    const reader = new FrameReader();
    reader.push(headFrame(sampleHead()));
    expect(reader.next()).toEqual({ type: "head", head: sampleHead() });
  });

  it("skips what it does not know, unless that is critical", () => {
    const reader = new FrameReader();
    reader.push(concat(raw(0x30, new Uint8Array(3)), raw(0x42, new Uint8Array(1)), end));
    expect(reader.next()).toMatchObject({ type: "end", reason: 1, last: 7 });
    reader.push(raw(0x43, new Uint8Array(1)));
    expect(() => reader.next()).toThrow(Malformed);
  });

  it.each([
    ["too large", concat(varint(0x11), varint((1 << 20) + 1))],
    ["cut short", raw(0x13, new Uint8Array([1]))],
    ["too long", raw(0x13, new Uint8Array([1, 7, 0]))],
    ["a client's", raw(0x01, new Uint8Array(4))],
    ["HEAD of no records", headFrame({ ...sampleHead(), recordCount: 0 })],
    ["HEAD of another codec", headFrame({ ...sampleHead(), codec: 2 })],
    ["HEAD of a strange rate", headFrame({ ...sampleHead(), rate: 8000 })],
    ["HEAD that begins behind the end", headFrame({ ...sampleHead(), firstRecord: 9 })],
  ])("refuses a frame that is %s", (_, bytes) => {
    const reader = new FrameReader();
    reader.push(bytes);
    expect(() => reader.next()).toThrow(Malformed);
  });

  it("reads ERR with its text bounded", () => {
    const reader = new FrameReader();
    reader.push(raw(0x1f, concat(varint(6), varint(500), new Uint8Array(400).fill(0x61))));
    expect(reader.next()).toEqual({ type: "err", code: 6, retryAfterMs: 500, text: "a".repeat(256) });
  });
});
