// What the worker holds of the streaming session.
import type { Bytes } from "./bytes";
import { Meter } from "./meter";
import type { Carrier } from "./transport";

export interface Setup {
  id: Bytes;
  pages: Bytes;
}

export interface Session {
  id: Bytes;
  key: CryptoKey;
  ticket: Bytes;
  maxKbps: number;
  transport: Carrier;
  meter: Meter;
  /** Codec headers by quality's setup id (hex): four exist, so they are kept for good. */
  setups: Map<string, Setup>;
  /** Asks for a fresh ticket; resolves when this.ticket is new. */
  renew(): Promise<void>;
  /** Counts what came over the wire. */
  received(bytes: number): void;
}
