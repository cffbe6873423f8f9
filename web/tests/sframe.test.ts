import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { type Bytes, Malformed } from "$lib/engine/bytes";
import { deriveRecordKey, importBaseKey, openFrame, parseHeader } from "$lib/engine/sframe";

// RFC 9605, appendix C, with numbers beyond 2^53 kept as they are written.
const text = readFileSync(new URL("../testdata/sframe-vectors.json", import.meta.url), "utf8");
const vectors = JSON.parse(text.replace(/"(kid|ctr)": (\d+)/g, '"$1": "$2"')) as {
  header: { kid: string; ctr: string; encoded: string }[];
  sframe: Record<string, string>[];
};
const bytes = (hexText: string) =>
  Uint8Array.from(hexText.match(/../g) ?? [], (x) => Number.parseInt(x, 16)) as Bytes;

describe("parseHeader", () => {
  it(`reads the RFC's ${vectors.header.length} headers`, () => {
    expect(vectors.header.length).toBeGreaterThan(200);
    for (const v of vectors.header) {
      const h = parseHeader(bytes(v.encoded));
      expect([h.kid, h.ctr, h.length]).toEqual([BigInt(v.kid), BigInt(v.ctr), v.encoded.length / 2]);
    }
  });
  it("refuses one that is cut short", () => {
    for (const x of ["", "0f", "99", "990123"]) expect(() => parseHeader(bytes(x))).toThrow(Malformed);
  });
});

describe("openFrame", () => {
  const v = vectors.sframe.find((x) => String(x.cipher_suite) === "4")!;
  const kid = BigInt(v.kid!);
  const ctr = BigInt(v.ctr!);
  const open = async (sealed: Bytes, expected = { kid, ctr }, metadata = bytes(v.metadata!)) =>
    openFrame(await deriveRecordKey(await importBaseKey(bytes(v.base_key!)), kid), expected, metadata, sealed);

  it("derives the RFC's salt for suite 4", async () => {
    const k = await deriveRecordKey(await importBaseKey(bytes(v.base_key!)), kid);
    expect(k.salt).toEqual(bytes(v.sframe_salt!));
    expect(k.key.extractable).toBe(false);
  });
  it("opens the RFC's ciphertext of suite 4", async () => {
    expect(await open(bytes(v.ct!))).toEqual(bytes(v.pt!));
  });
  it("refuses another key id, another counter, other metadata, another bit", async () => {
    await expect(open(bytes(v.ct!), { kid: kid + 1n, ctr })).rejects.toThrow(Malformed);
    await expect(open(bytes(v.ct!), { kid, ctr: ctr + 1n })).rejects.toThrow(Malformed);
    await expect(open(bytes(v.ct!), { kid, ctr }, bytes("00"))).rejects.toThrow();
    const flipped = bytes(v.ct!);
    flipped[flipped.length - 1]! ^= 1;
    await expect(open(flipped)).rejects.toThrow();
  });
});
