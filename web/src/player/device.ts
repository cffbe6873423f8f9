// This browser as a device, and what it remembers by itself.
import { idText, newId } from "$lib/engine/bytes";
import type { Kbps } from "$lib/engine/frames";
import type { TransportChoice } from "$lib/engine/transport";

const read = (key: string): string | null => {
  try {
    return localStorage.getItem(`segue.${key}`);
  } catch {
    return null; // storage is off: nothing is remembered
  }
};

export function remember(key: string, value: string): void {
  try {
    localStorage.setItem(`segue.${key}`, value);
  } catch {
    // Storage is off or full: the setting holds for this visit.
  }
}

/** 22 characters of base62, chosen once. */
export function deviceId(): string {
  const held = read("device");
  if (held && /^[0-9A-Za-z]{22}$/.test(held)) return held;
  const fresh = idText(newId());
  remember("device", fresh);
  return fresh;
}

/** "Firefox on Linux": for the listener's own list of devices. */
export function deviceName(): string {
  const ua = navigator.userAgent;
  const browser = /Edg\//.test(ua) ? "Edge" : /Firefox\//.test(ua) ? "Firefox" : /Chrom(e|ium)\//.test(ua) ? "Chrome" : "Safari";
  const system = /Android/.test(ua)
    ? "Android"
    : /iPhone|iPad/.test(ua)
      ? "iOS"
      : /Windows/.test(ua)
        ? "Windows"
        : /Mac OS/.test(ua)
          ? "macOS"
          : "Linux";
  return `${browser} on ${system}`;
}

export interface Preferences {
  quality: Kbps | 0;
  normalise: boolean;
  transport: TransportChoice;
  volume: number;
  singleKeys: boolean;
  panel: boolean;
  stats: boolean;
}

const oneOf = <T extends string>(text: string | null, all: readonly T[], other: T): T =>
  all.find((x) => x === text) ?? other;

export function preferences(): Preferences {
  const volume = Number(read("volume") ?? "1");
  return {
    quality: Number(oneOf(read("quality"), ["0", "24", "96", "160", "320"], "0")) as Kbps | 0,
    normalise: read("normalise") !== "off",
    transport: oneOf(read("transport"), ["auto", "webtransport", "fetch"], "auto"),
    volume: volume >= 0 && volume <= 1 ? volume : 1,
    singleKeys: read("keys") !== "off",
    panel: read("panel") === "on",
    stats: read("stats") === "on",
  };
}

export type Theme = "system" | "dark" | "light";

export function theme(): Theme {
  return oneOf(read("theme"), ["system", "dark", "light"], "system");
}

export function applyTheme(t: Theme): void {
  if (t === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = t;
}
