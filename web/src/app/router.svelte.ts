// Real URLs with history: back restores scroll and focus, a new page puts focus on its heading.
import { tick } from "svelte";

export interface Match {
  name: string;
  params: Record<string, string>;
}

const patterns: [string, RegExp][] = [
  ["albums", /^\/(?:albums)?$/],
  ["album", /^\/album\/(?<id>[0-9A-Za-z]{22})$/],
  ["artists", /^\/artists$/],
  ["artist", /^\/artist\/(?<id>[0-9A-Za-z]{22})$/],
  ["songs", /^\/songs$/],
  ["queue", /^\/queue$/],
  ["upload", /^\/upload$/],
  ["settings", /^\/settings$/],
  ["callback", /^\/callback$/],
];

export function match(path: string): Match {
  for (const [name, pattern] of patterns) {
    const found = pattern.exec(path);
    if (found) return { name, params: { ...found.groups } };
  }
  return { name: "missing", params: {} };
}

interface Entry {
  key: string;
}

class Router {
  path = $state(location.pathname);
  readonly here = $derived(match(this.path));
  private key = "";
  /** Scroll and focus of pages left, by history entry. */
  private left = new Map<string, { y: number; focus: string | null }>();

  start(): void {
    history.scrollRestoration = "manual";
    this.key = (history.state as Entry | null)?.key ?? this.mark(false, location.href);
    addEventListener("popstate", (e) => {
      this.remember();
      this.key = (e.state as Entry | null)?.key ?? this.mark(false, location.href);
      this.path = location.pathname;
      void this.restore();
    });
    addEventListener("click", (e) => this.click(e));
  }

  go(url: string, replace = false): void {
    const target = new URL(url, location.origin);
    if (target.origin !== location.origin) return;
    if (!replace) this.remember();
    this.key = this.mark(!replace, target.href);
    const same = this.path === target.pathname;
    this.path = target.pathname;
    if (!same) void this.arrive();
  }

  private mark(push: boolean, href: string): string {
    const key = Math.random().toString(36).slice(2);
    if (push) history.pushState({ key }, "", href);
    else history.replaceState({ key }, "", href);
    return key;
  }

  private remember(): void {
    const focused = document.activeElement?.closest<HTMLElement>("[data-focus]")?.dataset.focus ?? null;
    this.left.set(this.key, { y: scrollY, focus: focused });
  }

  private async arrive(): Promise<void> {
    scrollTo(0, 0);
    (await heading())?.focus({ preventScroll: true });
  }

  private async restore(): Promise<void> {
    const was = this.left.get(this.key);
    const h1 = await heading();
    if (!was) return h1?.focus();
    // The page may still be loading what makes it long enough.
    for (let i = 0; i < 30 && document.documentElement.scrollHeight < was.y + innerHeight; i++) await frame();
    scrollTo(0, was.y);
    const mark = was.focus && document.querySelector<HTMLElement>(`[data-focus="${CSS.escape(was.focus)}"]`);
    (mark || h1)?.focus({ preventScroll: true });
  }

  private click(e: MouseEvent): void {
    if (e.defaultPrevented || e.button !== 0 || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey) return;
    const a = (e.target as Element | null)?.closest?.("a");
    if (!a || a.target || a.hasAttribute("download") || a.origin !== location.origin) return;
    if (a.hash && a.pathname === location.pathname) return; // the skip link
    if (match(a.pathname).name === "missing") return;
    e.preventDefault();
    this.go(a.href);
  }
}

const frame = () => new Promise<void>((resolve) => requestAnimationFrame(() => resolve()));

/** The page's h1, once its lazily loaded route is there. */
async function heading(): Promise<HTMLElement | null> {
  await tick();
  for (let i = 0; i < 60; i++) {
    const h1 = document.querySelector<HTMLElement>("main h1");
    if (h1) return h1;
    await frame();
  }
  return null;
}

export const router = new Router();
