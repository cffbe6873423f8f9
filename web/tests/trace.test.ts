import { describe, expect, it } from "vitest";
import { traceparent } from "$lib/api/trace";
import { idText } from "$lib/engine/bytes";

describe("traceparent", () => {
  it("names a play by its id", () => {
    const id = new Uint8Array(16).map((_, i) => i * 16 + 1);
    expect(traceparent(idText(id))).toMatch(/^00-01112131415161718191a1b1c1d1e1f1-[0-9a-f]{16}-00$/);
  });
  it("makes an act of its own where none is named", () => {
    const [a, b] = [traceparent(), traceparent("")];
    for (const t of [a, b]) expect(t).toMatch(/^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-00$/);
    expect(a.slice(3, 35)).not.toBe(b.slice(3, 35));
  });
});
