import { describe, expect, it } from "vitest";
import { Malformed, Reader, concat, hex, idBytes, idText, newId, varint } from "$lib/engine/bytes";

describe("varint", () => {
  // RFC 9000, appendix A.1, and the limits of each length.
  const cases: [number, string][] = [
    [37, "25"],
    [15293, "7bbd"],
    [494878333, "9d7f3e7d"],
    [63, "3f"],
    [64, "4040"],
    [16383, "7fff"],
    [16384, "80004000"],
    [1073741823, "bfffffff"],
    [1073741824, "c000000040000000"],
  ];
  it.each(cases)("writes and reads %d", (n, text) => {
    expect(hex(varint(n))).toBe(text);
    expect(new Reader(varint(n)).varint()).toBe(n);
  });
  it("reads a longer form than needed", () => {
    expect(new Reader(new Uint8Array([0x40, 0x25])).varint()).toBe(37);
  });
  it("refuses what is no safe integer", () => {
    const r = new Reader(new Uint8Array([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]));
    expect(() => r.varint()).toThrow(Malformed);
    expect(() => varint(-1)).toThrow(RangeError);
  });
  it("refuses to read past the end", () => {
    expect(() => new Reader(new Uint8Array([0x80, 1])).varint()).toThrow(Malformed);
  });
});

describe("id", () => {
  it("is 22 characters of base62, there and back", () => {
    const zero = new Uint8Array(16);
    const all = new Uint8Array(16).fill(255);
    expect(idText(zero)).toBe("0".repeat(22));
    expect(idText(all)).toBe("7n42DGM5Tflk9n8mt7Fhc7");
    for (const id of [zero, all, newId()]) expect(idBytes(idText(id))).toEqual(id);
  });
  it("refuses what 16 bytes cannot hold", () => {
    for (const text of ["7n42DGM5Tflk9n8mt7Fhc8", "z".repeat(22), "short", "!".repeat(22)]) {
      expect(() => idBytes(text)).toThrow(Malformed);
    }
  });
  it("is ordered by time", () => {
    const texts = [1, 2, 1_700_000_000_000].map((ms) => idText(newId(ms)));
    expect([...texts].sort()).toEqual(texts);
  });
});

describe("concat", () => {
  it("joins views of larger buffers", () => {
    const b = new Uint8Array([1, 2, 3, 4]).subarray(1, 3);
    expect(concat(b, b)).toEqual(new Uint8Array([2, 3, 2, 3]));
  });
});
