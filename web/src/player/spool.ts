// Events on their way to the server: in IndexedDB until acknowledged, sent in batches. They may be
// sent twice; the server knows them by their id.
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type ClientEvent, ClientEventSchema, SendEventsRequestSchema } from "$lib/gen/segue/collect/v1/collect_pb";

interface Held {
  id: string;
  sessionId: string;
  event: Uint8Array;
}

export interface Sender {
  /** Resolves when the events are durable on the server, or hopeless. */
  send(deviceId: string, sessionId: string, events: ClientEvent[]): Promise<void>;
}

const batch = 200;
const settleMs = 2_000;
const pauses = [5_000, 15_000, 60_000, 300_000];
const keepaliveBytes = 60_000; // browsers refuse more in a request that outlives its page
const mostHeld = 20_000;

function asPromise<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error("IndexedDB"));
  });
}

function openDatabase(): Promise<IDBDatabase> {
  const request = indexedDB.open("segue-events", 1);
  request.onupgradeneeded = () => request.result.createObjectStore("events", { keyPath: "id" });
  return asPromise(request);
}

export class Spool {
  private db: Promise<IDBDatabase> | null = null;
  /** Everything not acknowledged that this page knows of, in order. */
  private held: Held[] = [];
  private timer: ReturnType<typeof setTimeout> | undefined;
  private failures = 0;
  private sending: Promise<void> | null = null;

  constructor(
    private readonly deviceId: string,
    private readonly sender: Sender,
  ) {}

  /** Takes up what an earlier visit left behind. */
  async start(): Promise<void> {
    this.db = openDatabase();
    this.db.catch(() => undefined);
    const store = (await this.db).transaction("events").objectStore("events");
    const left = (await asPromise(store.getAll(null, mostHeld))) as Held[];
    const known = new Set(this.held.map((h) => h.id));
    this.held = [...left.filter((h) => !known.has(h.id)), ...this.held];
    if (this.held.length > 0) this.plan(settleMs);
  }

  get waiting(): number {
    return this.held.length;
  }

  /** Never fails: without IndexedDB an event lives as long as the page. */
  async add(sessionId: string, event: ClientEvent): Promise<void> {
    const held: Held = { id: event.id, sessionId, event: toBinary(ClientEventSchema, event) };
    this.held.push(held);
    this.plan(settleMs);
    try {
      const db = await this.db;
      if (db) await asPromise(db.transaction("events", "readwrite").objectStore("events").put(held));
    } catch {
      // Private windows and full disks: see above.
    }
  }

  private plan(ms: number): void {
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      void this.flush();
    }, ms);
  }

  /** Sends what there is, batch by batch, until nothing is left or a batch fails. */
  flush(): Promise<void> {
    this.sending ??= this.sendAll().finally(() => (this.sending = null));
    return this.sending;
  }

  private async sendAll(): Promise<void> {
    while (this.held.length > 0) {
      const sessionId = this.held[0]!.sessionId;
      const part = this.held.slice(0, batch).filter((h) => h.sessionId === sessionId);
      try {
        await this.sender.send(
          this.deviceId,
          sessionId,
          part.map((h) => fromBinary(ClientEventSchema, h.event)),
        );
      } catch {
        this.plan(pauses[Math.min(this.failures++, pauses.length - 1)]!);
        return;
      }
      this.failures = 0;
      await this.forget(part);
    }
  }

  private async forget(part: Held[]): Promise<void> {
    const ids = new Set(part.map((h) => h.id));
    this.held = this.held.filter((h) => !ids.has(h.id));
    const db = await this.db?.catch(() => null);
    if (!db) return;
    const store = db.transaction("events", "readwrite").objectStore("events");
    await Promise.all([...ids].map((id) => asPromise(store.delete(id)))).catch(() => undefined);
  }

  /** The page goes away: one last batch that outlives it. What it held stays until a later visit hears of it. */
  leave(token: string | null): void {
    const sessionId = this.held.at(-1)?.sessionId;
    if (!token || sessionId === undefined) return;
    const events: ClientEvent[] = [];
    let size = 0;
    for (const h of this.held.slice(-batch)) {
      size += h.event.length + 8;
      if (size > keepaliveBytes || h.sessionId !== sessionId) continue;
      events.push(fromBinary(ClientEventSchema, h.event));
    }
    const body = toBinary(
      SendEventsRequestSchema,
      create(SendEventsRequestSchema, { deviceId: this.deviceId, sessionId, events }),
    );
    void fetch("/segue.collect.v1.CollectService/SendEvents", {
      method: "POST",
      keepalive: true,
      body: body as Uint8Array<ArrayBuffer>,
      headers: {
        Authorization: `Bearer ${token}`,
        "Content-Type": "application/proto",
        "Connect-Protocol-Version": "1",
      },
    }).catch(() => undefined);
  }
}
