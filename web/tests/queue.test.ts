import { describe, expect, it } from "vitest";
import * as q from "$lib/player/queue";

const items = (text: string): q.Item[] => [...text].map((trackId) => ({ trackId, context: "" }));
const text = (x: q.Queue) => x.items.map((i) => i.trackId).join("");
const at = (list: string, index: number) => q.start(q.emptyQueue, items(list), index);

describe("queue", () => {
  it("leads on, back, and around", () => {
    expect(q.following(at("abc", 1))).toBe(2);
    expect(q.following(at("abc", 2))).toBeNull();
    expect(q.following({ ...at("abc", 2), repeat: "all" })).toBe(0);
    expect(q.following({ ...at("abc", 1), repeat: "one" })).toBe(1);
    expect(q.skipTarget({ ...at("abc", 1), repeat: "one" })).toBe(2);
    expect(q.previous(at("abc", 0))).toBeNull();
    expect(q.previous({ ...at("abc", 0), repeat: "all" })).toBe(2);
    expect(q.following(q.emptyQueue)).toBeNull();
  });
  it("takes in what plays next and last", () => {
    expect(text(q.insertNext(at("abc", 1), items("xy")))).toBe("abxyc");
    expect(text(q.append(at("abc", 1), items("xy")))).toBe("abcxy");
    expect(q.insertNext(q.emptyQueue, items("x")).index).toBe(0);
  });
  it.each([
    [0, "bc", 0],
    [1, "ac", 1],
    [2, "ab", 1],
  ])("removes %d", (gone, left, index) => {
    const r = q.remove(at("abc", 1), gone);
    expect([text(r), r.index]).toEqual([left, index]);
  });
  it.each([
    [0, 2, "bca", 0],
    [2, 0, "cab", 2],
    [1, 2, "acb", 2],
    [0, 3, "abc", 1],
    [2, 1, "acb", 2],
  ])("moves %d to %d with the current one kept", (from, to, list, index) => {
    const r = q.move(at("abc", 1), from, to);
    expect([text(r), r.index]).toEqual([list, index]);
    if (to < 3) expect(q.currentItem(r)?.trackId).toBe("b");
  });
  it("shuffles behind the current one and brings the order back", () => {
    const s = q.shuffle(at("abcdef", 2), true, () => 0);
    expect(q.currentItem(s)?.trackId).toBe("c");
    expect([...text(s)].sort().join("")).toBe("abcdef");
    const back = q.shuffle(s, false, () => 0);
    expect([text(back), back.index, back.original]).toEqual(["abcdef", 2, null]);
  });
  it("keeps what came in while it was shuffled", () => {
    const s = q.append(q.shuffle(at("abc", 0), true, () => 0), items("x"));
    expect(text(q.shuffle(s, false, () => 0))).toBe("abcx");
    const gone = q.remove(s, s.items.findIndex((i) => i.trackId === "b"));
    expect(text(q.shuffle(gone, false, () => 0))).toBe("acx");
  });
});
