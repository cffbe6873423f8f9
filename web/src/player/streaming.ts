// The page's side of the streaming worker: opens the session as soon as someone is signed in and
// keeps its ticket fresh.
import { sessions } from "$lib/api/clients";
import type { Bytes } from "$lib/engine/bytes";
import type { FromWorker, ToWorker } from "$lib/engine/messages";
import type { OpenSessionResponse } from "$lib/gen/segue/playback/v1/playback_pb";
import { Output } from "./audio";
import { deviceName } from "./device";

const pauses = [500, 2_000, 5_000, 15_000, 30_000];
const delay = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

export class Streaming {
  readonly output = new Output();
  sessionId = "";
  private readonly worker: Worker;
  private expiresAt = 0;
  private renewTimer: ReturnType<typeof setTimeout> | undefined;
  private opening: Promise<void> | null = null;
  private publicKey: Promise<Bytes>;
  private gotKey: (key: Bytes) => void = () => {};

  constructor(
    private readonly deviceId: string,
    private readonly hear: (m: FromWorker) => void,
  ) {
    this.worker = new Worker(new URL("../engine/worker.ts", import.meta.url), { type: "module", name: "segue-stream" });
    this.worker.onmessage = (e: MessageEvent<FromWorker>) => this.take(e.data);
    this.publicKey = new Promise((resolve) => (this.gotKey = resolve));
    const { buffer, workerPort } = this.output;
    this.worker.postMessage({ t: "ring", buffer, port: workerPort } satisfies ToWorker, workerPort ? [workerPort] : []);
    this.post({ t: "key" });
  }

  post(m: ToWorker): void {
    this.worker.postMessage(m);
  }

  private take(m: FromWorker): void {
    if (m.t === "key") this.gotKey(m.publicKey);
    else if (m.t === "renew") void this.renew();
    else this.hear(m);
  }

  /** Opens a session, or a new one in place of one that was lost. Tries until it succeeds. */
  open(): Promise<void> {
    this.opening ??= this.openUntilDone().finally(() => (this.opening = null));
    return this.opening;
  }

  private async openUntilDone(): Promise<void> {
    const publicKey = await this.publicKey;
    for (let attempt = 0; ; attempt++) {
      try {
        const reply = await sessions.openSession({
          deviceId: this.deviceId,
          deviceName: deviceName(),
          publicKey,
          client: "segue-web",
        });
        return this.use(reply);
      } catch {
        await delay(pauses[Math.min(attempt, pauses.length - 1)]!);
      }
    }
  }

  private use(r: OpenSessionResponse): void {
    this.sessionId = r.sessionId;
    this.post({
      t: "session",
      sessionId: r.sessionId,
      sealedKey: r.sealedKey as Bytes,
      ticket: r.ticket as Bytes,
      maxKbps: r.maxKbps,
      endpoints: {
        edges: r.endpoints.map((e) => ({ webtransport: e.webtransport, hashes: e.certificateSha256 as Bytes[] })),
        fallback: new URL(r.endpoints[0]?.fallback || "/stream/v1/play", location.origin).href,
      },
    });
    this.plan(r.ticketExpiresUnixMs, r.serverUnixMs);
  }

  /** A ticket is renewed at half of its life, by the server's clock. */
  private plan(expires: bigint, serverNow: bigint): void {
    const life = Math.max(10_000, Number(expires - serverNow));
    this.expiresAt = Date.now() + life;
    clearTimeout(this.renewTimer);
    this.renewTimer = setTimeout(() => void this.renew(), life / 2);
  }

  /** A fresh ticket for the same session. */
  async renew(): Promise<void> {
    if (!this.sessionId) return;
    try {
      const r = await sessions.renewTicket({ sessionId: this.sessionId });
      this.post({ t: "ticket", ticket: r.ticket as Bytes });
      // The reply has no server time: half of what is left by this clock is early enough.
      this.plan(r.ticketExpiresUnixMs, BigInt(Date.now()));
    } catch {
      if (Date.now() > this.expiresAt) return this.open();
      clearTimeout(this.renewTimer);
      this.renewTimer = setTimeout(() => void this.renew(), 15_000);
    }
  }

  close(): void {
    clearTimeout(this.renewTimer);
    this.worker.terminate();
  }
}
