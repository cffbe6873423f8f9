// Which edge a player dials, and when it goes on to the next one.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Transport } from "../src/engine/transport";

class FakeSession {
  static dialed: FakeSession[] = [];
  readonly ready: Promise<void>;
  readonly closed: Promise<void>;
  accept = () => {};
  refuse = (_: Error) => {};
  end = () => {};
  constructor(readonly url: string) {
    this.ready = new Promise((ok, no) => ((this.accept = ok), (this.refuse = no)));
    this.closed = new Promise((ok) => (this.end = ok));
    FakeSession.dialed.push(this);
  }
  close(): void {
    this.end();
  }
}

const settled = () => vi.advanceTimersByTimeAsync(0);
const urls = () => FakeSession.dialed.map((s) => s.url);
const last = () => FakeSession.dialed.at(-1)!;

describe("transport", () => {
  beforeEach(() => {
    vi.useFakeTimers();
    vi.stubGlobal("WebTransport", FakeSession);
    FakeSession.dialed = [];
  });
  afterEach(() => {
    vi.unstubAllGlobals();
    vi.useRealTimers();
  });

  const edges = (...names: string[]) => ({ edges: names.map((webtransport) => ({ webtransport, hashes: [] })), fallback: "https://api/stream/v1/play" });

  it("goes on to the next edge when one leaves, and comes round", async () => {
    const open: boolean[] = [];
    const t = new Transport(edges("a", "b"), "auto", (o) => open.push(o));
    for (const want of ["a", "b", "a"]) {
      expect(last().url).toBe(want);
      last().accept();
      await settled();
      last().end();
      await settled();
    }
    expect(urls()).toEqual(["a", "b", "a", "b"]);
    expect(open).toEqual([true, false, true, false, true, false]);
    t.close();
  });

  it("tries each edge at once, and all of them again only after a pause", async () => {
    const t = new Transport(edges("a", "", "b", "c"), "auto", () => {});
    for (let i = 0; i < 3; i++) {
      last().refuse(new Error("no"));
      await settled();
    }
    expect(urls()).toEqual(["a", "b", "c"]);
    await vi.advanceTimersByTimeAsync(60_000);
    void t.open(() => new Uint8Array()).catch(() => {});
    expect(urls()).toEqual(["a", "b", "c", "a"]);
    t.close();
  });

  it("dials none where no edge has WebTransport, or it is not wanted", () => {
    new Transport(edges(""), "auto", () => {}).close();
    new Transport(edges(), "auto", () => {}).close();
    new Transport(edges("a"), "fetch", () => {}).close();
    expect(urls()).toEqual([]);
  });
});
