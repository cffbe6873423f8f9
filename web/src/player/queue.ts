// The queue: ids only, so that 20,000 songs stay small. Every function gives a new queue.

export interface Item {
  trackId: string;
  /** Where it was started from: segue:album:<id>, … */
  context: string;
}

export type Repeat = "off" | "all" | "one";

export interface Queue {
  readonly items: readonly Item[];
  /** The current item; -1 in an empty queue. */
  readonly index: number;
  readonly repeat: Repeat;
  /** The order before shuffling; null: not shuffled. */
  readonly original: readonly Item[] | null;
}

export const emptyQueue: Queue = { items: [], index: -1, repeat: "off", original: null };

export const currentItem = (q: Queue): Item | undefined => q.items[q.index];

export function start(q: Queue, items: readonly Item[], index: number): Queue {
  return { ...q, items, index: items.length === 0 ? -1 : Math.min(index, items.length - 1), original: null };
}

/** What follows by itself when the current item ends; null: nothing. */
export function following(q: Queue): number | null {
  if (q.index < 0) return null;
  if (q.repeat === "one") return q.index;
  return skipTarget(q);
}

/** Where "next" leads: repeat-one holds no one back. */
export function skipTarget(q: Queue): number | null {
  if (q.index + 1 < q.items.length) return q.index + 1;
  return q.repeat === "all" && q.items.length > 0 ? 0 : null;
}

export function previous(q: Queue): number | null {
  if (q.index > 0) return q.index - 1;
  return q.repeat === "all" && q.items.length > 0 ? q.items.length - 1 : null;
}

export function insertNext(q: Queue, items: readonly Item[]): Queue {
  if (q.index < 0) return start(q, items, 0);
  const at = q.index + 1;
  const original = q.original ? [...q.original, ...items] : null;
  return { ...q, items: [...q.items.slice(0, at), ...items, ...q.items.slice(at)], original };
}

export function append(q: Queue, items: readonly Item[]): Queue {
  if (q.index < 0) return start(q, items, 0);
  return { ...q, items: [...q.items, ...items], original: q.original ? [...q.original, ...items] : null };
}

/** Takes one item out. The current one stays current by staying where it is. */
export function remove(q: Queue, at: number): Queue {
  const gone = q.items[at];
  if (!gone) return q;
  const items = q.items.filter((_, i) => i !== at);
  let index = q.index;
  if (at < index || index >= items.length) index--;
  return { ...q, items, index, original: q.original?.filter((x) => x !== gone) ?? null };
}

/** Moves an item to another place; past the ends it stays. */
export function move(q: Queue, from: number, to: number): Queue {
  const item = q.items[from];
  if (!item || to < 0 || to >= q.items.length) return q;
  const items = q.items.filter((_, i) => i !== from);
  items.splice(to, 0, item);
  const current = q.items[q.index];
  let index = q.index;
  if (from === q.index) index = to;
  else if (from < q.index && to >= q.index) index--;
  else if (from > q.index && to <= q.index) index++;
  return { ...q, items, index: current ? index : -1 };
}

/** Shuffles what follows the current item; off brings the order back. random: [0, 1). */
export function shuffle(q: Queue, on: boolean, random: () => number): Queue {
  if (on === (q.original !== null)) return q;
  const current = q.items[q.index];
  if (!on) {
    const items = q.original ?? q.items;
    return { ...q, items, index: current ? items.indexOf(current) : -1, original: null };
  }
  const rest = q.items.filter((_, i) => i !== q.index);
  for (let i = rest.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [rest[i], rest[j]] = [rest[j]!, rest[i]!];
  }
  return { ...q, items: current ? [current, ...rest] : rest, index: current ? 0 : -1, original: q.items };
}
