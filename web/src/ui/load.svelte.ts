// A page's data in its three states: loading, there, failed with a way to try again.
import { sentence } from "$lib/api/clients";

export class Load<T> {
  value = $state.raw<T | null>(null);
  error = $state<string | null>(null);

  constructor(private readonly fetch: () => Promise<T>) {
    void this.run();
  }

  run = async (): Promise<void> => {
    this.error = null;
    try {
      this.value = await this.fetch();
    } catch (e) {
      this.error = sentence(e);
    }
  };
}

/** A list that comes in pages. */
export class Pages<T> {
  items = $state.raw<T[]>([]);
  total = $state<number | null>(null);
  error = $state<string | null>(null);
  loading = $state(false);
  done = $state(false);
  private token = "";

  constructor(private readonly fetch: (token: string) => Promise<{ items: T[]; next: string; total: number }>) {
    void this.more();
  }

  more = async (): Promise<void> => {
    if (this.loading || this.done) return;
    this.loading = true;
    this.error = null;
    try {
      const page = await this.fetch(this.token);
      this.items = [...this.items, ...page.items];
      this.total = page.total;
      this.token = page.next;
      this.done = page.next === "";
    } catch (e) {
      this.error = sentence(e);
    } finally {
      this.loading = false;
    }
  };
}

/** Calls when the element comes near the screen. */
export function near(node: HTMLElement, call: () => void) {
  const observer = new IntersectionObserver((entries) => entries.some((e) => e.isIntersecting) && call(), {
    rootMargin: "800px",
  });
  observer.observe(node);
  return { destroy: () => observer.disconnect() };
}
