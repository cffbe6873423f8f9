// The worker's door: messages in, messages out. Everything that streams lives behind it.
import { type Bytes, idBytes } from "./bytes";
import { Core } from "./core";
import { type DecoderMaker, chooseDecoder } from "./decoder";
import { type DeviceKey, newDeviceKey, openSessionKey } from "./hpke";
import type { FromWorker, ToWorker } from "./messages";
import { Meter } from "./meter";
import { ringFrames } from "./ring";
import { PortRing, type RingWriter, SharedRing } from "./ring-writer";
import type { Session, Setup } from "./session";
import { Transport, type TransportChoice } from "./transport";

declare const self: DedicatedWorkerGlobalScope;
interface DedicatedWorkerGlobalScope {
  postMessage(m: FromWorker): void;
  onmessage: ((e: MessageEvent<ToWorker>) => void) | null;
}

const emit = (m: FromWorker) => self.postMessage(m);

class Door {
  private device: Promise<DeviceKey> | null = null;
  private maker: DecoderMaker | null = null;
  private ring: RingWriter | null = null;
  private session: Session | null = null;
  private core: Core | null = null;
  private options: Extract<ToWorker, { t: "options" }> = { t: "options", quality: 0, normalise: true, transport: "auto" };
  private visible = true;
  private open = false;
  private bytes = 0;
  private renewal: { promise: Promise<void>; done: () => void } | null = null;
  private readonly meter = new Meter();
  private readonly setups = new Map<string, Setup>();
  private statusAt = 0;

  async take(m: ToWorker): Promise<void> {
    switch (m.t) {
      case "ring":
        this.ring = m.buffer ? new SharedRing(m.buffer) : new PortRing(m.port!, ringFrames);
        return this.begin();
      case "key":
        this.device ??= newDeviceKey();
        return emit({ t: "key", publicKey: (await this.device).publicKey });
      case "session":
        return this.openSession(m);
      case "ticket":
        if (this.session) this.session.ticket = m.ticket;
        this.renewal?.done();
        this.renewal = null;
        return;
      case "options":
        return this.setOptions(m);
      case "load":
        return this.core?.load(m.play, m.track, m.fromMs, m.running, m.clickedAt);
      case "next":
        return this.core?.setNext(m.play, m.track);
      case "heads":
        return this.core?.setHeads(m.tracks);
      case "seek":
        return this.core?.seek(m.play, m.toMs, m.clickedAt);
      case "run":
        this.core?.setRunning(m.on);
        return this.status();
      case "stop":
        return this.core?.stop();
      case "visible":
        this.visible = m.on;
        return;
    }
  }

  private setOptions(m: Extract<ToWorker, { t: "options" }>): void {
    const transport = this.options.transport !== m.transport;
    this.options = m;
    this.core?.setOptions(m);
    if (transport && this.session) this.replaceTransport(m.transport);
  }

  private endpoints: Extract<ToWorker, { t: "session" }>["endpoints"] | null = null;

  private replaceTransport(choice: TransportChoice): void {
    this.session?.transport.close();
    this.open = false;
    const t = new Transport(this.endpoints!, choice, (open) => (this.open = open));
    if (this.session) this.session.transport = t;
  }

  private async openSession(m: Extract<ToWorker, { t: "session" }>): Promise<void> {
    this.device ??= newDeviceKey();
    const id: Bytes = idBytes(m.sessionId);
    const key = await openSessionKey(await this.device, id, m.sealedKey);
    this.endpoints = m.endpoints;
    this.core?.stop();
    this.core = null;
    this.session?.transport.close();
    this.session = {
      id,
      key,
      ticket: m.ticket,
      maxKbps: m.maxKbps,
      meter: this.meter,
      setups: this.setups,
      transport: new Transport(m.endpoints, this.options.transport, (open) => (this.open = open)),
      renew: () => this.renew(),
      received: (n) => (this.bytes += n),
    };
    return this.begin();
  }

  private renew(): Promise<void> {
    if (!this.renewal) {
      let done = () => {};
      const promise = new Promise<void>((resolve) => (done = resolve));
      this.renewal = { promise, done };
      emit({ t: "renew" });
    }
    return this.renewal.promise;
  }

  private async begin(): Promise<void> {
    if (!this.session || !this.ring || this.core) return;
    this.maker = await chooseDecoder(this.options.decoder);
    if (this.core) return;
    this.core = new Core(this.session, this.maker, this.ring, emit);
    this.core.setOptions(this.options);
    emit({ t: "ready", decoder: this.maker.name });
    this.tick();
  }

  private ticking = false;

  /** Four times a second in front, once in the background. */
  private tick(): void {
    if (this.ticking) return;
    this.ticking = true;
    const turn = () => {
      this.core?.poll();
      const every = this.visible ? 250 : 1000;
      if (performance.now() - this.statusAt >= every - 20) this.status();
      setTimeout(turn, this.visible ? 50 : 500);
    };
    turn();
  }

  private status(): void {
    if (!this.core) return;
    this.statusAt = performance.now();
    emit({ ...this.core.status(), webtransport: this.open, bytes: this.bytes });
  }
}

const door = new Door();
self.onmessage = (e) => {
  door.take(e.data).catch((error: unknown) => {
    const message = error instanceof Error ? error.message : String(error);
    emit({ t: "failed", play: 0, playId: "", trackId: "", code: "PLAYER", message });
  });
};
