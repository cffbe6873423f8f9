// How frames travel: one WebTransport stream per PLAY, or one bounded fetch() per PLAY.
import type { Bytes } from "./bytes";
import { Code, encodeCredit } from "./frames";

export type TransportKind = "webtransport" | "fetch";
export type TransportChoice = "auto" | TransportKind;

/** The answer to one PLAY. */
export interface Answer {
  readonly kind: TransportKind;
  /** The next bytes; null at the end. */
  read(): Promise<Bytes | null>;
  /** Lets the server send up to here, where the transport can say it. */
  credit(untilMs: number): void;
  cancel(): void;
}

/** What carries PLAYs to an edge. */
export interface Carrier {
  /** Sends a PLAY; makeFrame is called once per attempt, since every PLAY has a play id of its own. */
  open(makeFrame: () => Bytes): Promise<Answer>;
  close(): void;
}

/** One edge: where its WebTransport sessions are, and the hashes of its certificates. */
export interface Edge {
  webtransport: string;
  hashes: Bytes[];
}

/** The edges, in the order in which they are tried; the fallback leads to any of them. */
export interface Endpoints {
  edges: Edge[];
  fallback: string;
}

/** Neither transport could carry the request. */
export class Unreachable extends Error {
  override name = "Unreachable";
}

/** The HTTP answer of the fallback is an error and carries no ERR frame. */
export class HttpFailure extends Error {
  override name = "HttpFailure";
  constructor(readonly status: number) {
    super(`HTTP status ${status}`);
  }
}

const patience = {
  /** The fallback starts when an unopened session does not open in this time. */
  opening: 150,
  /** ... and when an open one has not answered in this time. */
  answering: 1200,
  /** WebTransport is tried again after a failure in these steps. */
  retry: [5_000, 30_000, 120_000, 300_000],
};

const delay = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

class StreamAnswer implements Answer {
  readonly kind = "webtransport";
  private readonly reader: ReadableStreamDefaultReader<Bytes>;
  private readonly writer: WritableStreamDefaultWriter<Bytes>;

  constructor(stream: WebTransportBidirectionalStream) {
    this.reader = stream.readable.getReader() as ReadableStreamDefaultReader<Bytes>;
    this.writer = stream.writable.getWriter() as WritableStreamDefaultWriter<Bytes>;
    // A refused write also ends the reading side, where it is reported.
    this.writer.closed.catch(() => {});
  }

  send(frame: Bytes): void {
    this.writer.write(frame).catch(() => {});
  }

  async read(): Promise<Bytes | null> {
    const { value, done } = await this.reader.read();
    if (done) this.writer.close().catch(() => {});
    return done ? null : value;
  }

  credit(untilMs: number): void {
    this.send(encodeCredit(untilMs));
  }

  cancel(): void {
    const reason = cancelReason();
    this.reader.cancel(reason).catch(() => {});
    this.writer.abort(reason).catch(() => {});
  }
}

/** Carries the code CANCELLED; browsers differ in how the error is made, and some cannot. */
function cancelReason(): unknown {
  const makers = [
    () => new WebTransportError("cancelled", { source: "stream", streamErrorCode: Code.cancelled }),
    () => Reflect.construct(WebTransportError, [{ message: "cancelled", streamErrorCode: Code.cancelled }]) as unknown,
  ];
  for (const make of makers) {
    try {
      return make();
    } catch {
      // The other way, then.
    }
  }
  return undefined;
}

class FetchAnswer implements Answer {
  readonly kind = "fetch";
  constructor(
    private readonly reader: ReadableStreamDefaultReader<Bytes>,
    private readonly abort: AbortController,
  ) {}

  async read(): Promise<Bytes | null> {
    const { value, done } = await this.reader.read();
    return done ? null : value;
  }

  credit(): void {}

  cancel(): void {
    // Leaving the body unread would keep its data in the pipe, in front of what is wanted next.
    this.reader.cancel().catch(() => {});
    this.abort.abort();
  }
}

/** An answer whose first bytes were already taken, to learn that it answers at all. */
class Opened implements Answer {
  constructor(
    private readonly inner: Answer,
    private first: Bytes | null | undefined,
  ) {}
  get kind(): TransportKind {
    return this.inner.kind;
  }
  read(): Promise<Bytes | null> {
    if (this.first === undefined) return this.inner.read();
    const first = this.first;
    this.first = undefined;
    return Promise.resolve(first);
  }
  credit(untilMs: number): void {
    this.inner.credit(untilMs);
  }
  cancel(): void {
    this.inner.cancel();
  }
}

export class Transport implements Carrier {
  private session: WebTransport | null = null;
  private ready: Promise<WebTransport> | null = null;
  private readonly edges: Edge[];
  private at = 0;
  private failures = 0;
  private retryAt = 0;
  private closed = false;

  constructor(
    private readonly endpoints: Endpoints,
    private readonly choice: TransportChoice,
    private readonly changed: (open: boolean) => void,
  ) {
    this.edges = endpoints.edges.filter((e) => e.webtransport !== "");
    this.connect();
  }

  private get wantsWebTransport(): boolean {
    return this.choice !== "fetch" && this.edges.length > 0 && typeof WebTransport !== "undefined";
  }

  /** Begins a WebTransport session if there is none and it is time for one: when each edge has failed, after a pause. */
  private connect(): void {
    if (!this.wantsWebTransport || this.ready || this.closed || Date.now() < this.retryAt) return;
    const ready = this.dial();
    this.ready = ready;
    ready.catch(() => {
      this.ready = null;
      this.at = (this.at + 1) % this.edges.length;
      if (this.at !== 0) return this.connect();
      const step = Math.min(this.failures++, patience.retry.length - 1);
      this.retryAt = Date.now() + patience.retry[step]!;
    });
  }

  private async dial(): Promise<WebTransport> {
    const edge = this.edges[this.at]!;
    const wt = new WebTransport(edge.webtransport, {
      allowPooling: false,
      congestionControl: "low-latency",
      ...(edge.hashes.length > 0 && {
        serverCertificateHashes: edge.hashes.map((value) => ({ algorithm: "sha-256", value })),
      }),
    });
    wt.closed.catch(() => {}).then(() => this.lost(wt));
    await wt.ready;
    this.session = wt;
    this.failures = 0;
    this.changed(true);
    return wt;
  }

  /** An edge that leaves tells its players to go: to the next one, while they play on from what they have. */
  private lost(wt: WebTransport): void {
    if (this.session !== wt) return;
    this.session = null;
    this.ready = null;
    this.at = (this.at + 1) % this.edges.length;
    this.changed(false);
    this.connect();
  }

  async open(makeFrame: () => Bytes): Promise<Answer> {
    this.connect();
    if (this.choice === "webtransport") return this.overWebTransport(makeFrame);
    if (!this.ready) return this.overFetch(makeFrame);
    return this.race(makeFrame);
  }

  private async race(makeFrame: () => Bytes): Promise<Answer> {
    const fast = this.overWebTransport(makeFrame);
    const wait = this.session ? patience.answering : patience.opening;
    const early = await Promise.race([fast.catch(() => null), delay(wait).then(() => undefined)]);
    if (early) return early;
    const slow = this.overFetch(makeFrame);
    const winner = await Promise.any([fast, slow]).catch((e: AggregateError) => {
      throw e.errors[1];
    });
    for (const other of [fast, slow]) {
      other.then((a) => a !== winner && a.cancel()).catch(() => {});
    }
    return winner;
  }

  private async overWebTransport(makeFrame: () => Bytes): Promise<Answer> {
    if (!this.ready) throw new Unreachable("no WebTransport");
    const wt = await this.ready;
    const answer = new StreamAnswer(await wt.createBidirectionalStream());
    answer.send(makeFrame());
    return new Opened(answer, await answer.read());
  }

  private async overFetch(makeFrame: () => Bytes): Promise<Answer> {
    const abort = new AbortController();
    const response = await fetch(this.endpoints.fallback, {
      method: "POST",
      body: makeFrame(),
      headers: { "Content-Type": "application/x-segue-frames" },
      cache: "no-store",
      credentials: "omit",
      signal: abort.signal,
    }).catch((cause: unknown) => {
      throw new Unreachable("no connection", { cause });
    });
    const frames = response.headers.get("Content-Type")?.startsWith("application/x-segue-frames");
    if (!response.body || !frames) {
      abort.abort();
      throw new HttpFailure(response.status);
    }
    return new FetchAnswer(response.body.getReader() as ReadableStreamDefaultReader<Bytes>, abort);
  }

  close(): void {
    this.closed = true;
    this.session?.close({ closeCode: 0, reason: "" });
    this.session = null;
  }
}
