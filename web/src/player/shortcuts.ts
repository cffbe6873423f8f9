// The keyboard: UI.md's map, as far as there is something to do. Single letters are off in inputs
// and can be turned off.
import { auth } from "$lib/auth/auth.svelte";
import { router } from "$lib/app/router.svelte";
import { view } from "$lib/app/view.svelte";
import { player } from "./player.svelte";
import * as q from "./queue";

export const keyList: [string, string][] = [
  ["Space or K", "play, pause"],
  ["← / →", "5 seconds back, on"],
  ["Shift+← or P, Shift+→ or N", "previous, next track"],
  ["Alt+↑ / Alt+↓", "louder, quieter"],
  ["M", "mute"],
  ["S", "shuffle"],
  ["R", "repeat"],
  ["Q", "queue"],
  ["I", "measurements"],
  ["G, then H A R S", "home, albums, artists, songs"],
  ["Enter", "play the row"],
  ["Shift+Enter", "play the row next"],
  ["Ctrl+Enter", "add the row to the queue"],
  ["?", "this list"],
  ["Esc", "close"],
];

const stepMs = 5_000;
const places: Record<string, string> = { h: "/", a: "/albums", r: "/artists", s: "/songs" };

export function cycleRepeat(): void {
  const after = { off: "all", all: "one", one: "off" } as const;
  player.setQueue({ ...player.queue, repeat: after[player.queue.repeat] });
}

export function toggleShuffle(): void {
  player.setQueue(q.shuffle(player.queue, player.queue.original === null, Math.random));
}

const single: Record<string, () => void> = {
  " ": () => player.toggle(),
  k: () => player.toggle(),
  p: () => player.previous(),
  n: () => player.next(),
  m: () => player.toggleMute(),
  s: toggleShuffle,
  r: cycleRepeat,
  q: () => view.togglePanel(),
  i: () => view.toggleStats(),
  "?": () => (view.help = !view.help),
};

let goUntil = 0;

function onKey(e: KeyboardEvent): void {
  if (e.defaultPrevented || e.ctrlKey || e.metaKey || auth.state !== "signed-in") return;
  if (e.key === "Escape") return close(e);
  const at = e.target as HTMLElement;
  const typing = at.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(at.tagName);
  if (typing) return;
  if (e.altKey) return volume(e);
  if (e.key === "ArrowLeft" || e.key === "ArrowRight") {
    if (at.closest('[role="grid"], [role="menu"], [role="listbox"], [role="radiogroup"]')) return;
    const forward = e.key === "ArrowRight";
    e.preventDefault();
    if (e.shiftKey) return forward ? player.next() : player.previous();
    return player.seek(player.positionMs + (forward ? stepMs : -stepMs));
  }
  // Space presses a focused button; only elsewhere it is the player's.
  if (e.key === " " && at.closest("button, a, summary")) return;
  if (!player.settings.singleKeys && e.key !== " ") return;
  const key = e.key.toLowerCase();
  if (performance.now() < goUntil && places[key]) {
    goUntil = 0;
    e.preventDefault();
    return router.go(places[key]);
  }
  if (key === "g") {
    goUntil = performance.now() + 1500;
    return;
  }
  const action = single[key];
  if (!action) return;
  e.preventDefault();
  action();
}

function volume(e: KeyboardEvent): void {
  if (e.key !== "ArrowUp" && e.key !== "ArrowDown") return;
  if ((e.target as HTMLElement).closest("[data-reorder]")) return; // there it moves the item
  e.preventDefault();
  player.setVolume(player.settings.volume + (e.key === "ArrowUp" ? 0.05 : -0.05));
}

function close(e: KeyboardEvent): void {
  if (!view.help && !view.sheet && !(view.panel && innerWidth < 1024)) return;
  e.preventDefault();
  if (view.help) view.help = false;
  else if (view.sheet) view.sheet = false;
  else view.togglePanel();
}

export function shortcuts(): () => void {
  addEventListener("keydown", onKey);
  return () => removeEventListener("keydown", onKey);
}
