import { IDBFactory } from "fake-indexeddb";
import { create } from "@bufbuild/protobuf";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type ClientEvent, ClientEventSchema } from "$lib/gen/segue/collect/v1/collect_pb";
import { Spool } from "$lib/player/spool";

const event = (id: string): ClientEvent =>
  create(ClientEventSchema, { id, payload: { case: "resumed", value: { playId: "p", trackId: "t" } } });

function server() {
  const got: { session: string; ids: string[] }[] = [];
  let down = false;
  return {
    got,
    set down(x: boolean) {
      down = x;
    },
    send: async (_device: string, session: string, events: ClientEvent[]) => {
      if (down) throw new Error("down");
      got.push({ session, ids: events.map((e) => e.id) });
    },
  };
}

describe("Spool", () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    vi.stubGlobal("indexedDB", new IDBFactory());
  });
  afterEach(() => {
    vi.useRealTimers();
    vi.unstubAllGlobals();
  });

  it("sends in batches of one session, in order, and forgets what was taken", async () => {
    const s = server();
    const spool = new Spool("d", s);
    await spool.start();
    for (let i = 0; i < 250; i++) await spool.add(i < 230 ? "one" : "two", event(`e${i}`));
    await spool.flush();
    expect(s.got.map((g) => [g.session, g.ids.length])).toEqual([
      ["one", 200],
      ["one", 30],
      ["two", 20],
    ]);
    expect(s.got.flatMap((g) => g.ids)).toEqual(Array.from({ length: 250 }, (_, i) => `e${i}`));
    expect(spool.waiting).toBe(0);
  });

  it("keeps what was not taken, over a new page", async () => {
    const s = server();
    s.down = true;
    const first = new Spool("d", s);
    await first.start();
    await first.add("one", event("kept"));
    await first.flush();
    expect(first.waiting).toBe(1);

    s.down = false;
    const second = new Spool("d", s);
    await second.start();
    expect(second.waiting).toBe(1);
    await second.flush();
    expect(s.got).toEqual([{ session: "one", ids: ["kept"] }]);

    const third = new Spool("d", s);
    await third.start();
    expect(third.waiting).toBe(0);
  });

  it("tries again by itself", async () => {
    const s = server();
    s.down = true;
    const spool = new Spool("d", s);
    await spool.start();
    await spool.add("one", event("e"));
    await vi.advanceTimersByTimeAsync(2_000);
    expect(s.got).toEqual([]);
    s.down = false;
    await vi.advanceTimersByTimeAsync(5_000);
    expect(s.got).toHaveLength(1);
  });
});
