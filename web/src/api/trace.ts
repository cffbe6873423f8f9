// The trace that a request belongs to (W3C Trace Context): a request says which act of the listener
// it is part of, so that the server's parts can be seen as one.
import type { Interceptor } from "@connectrpc/connect";
import { idBytes, newId } from "$lib/engine/bytes";

const hex = (bytes: Uint8Array) => [...bytes].map((b) => b.toString(16).padStart(2, "0")).join("");

/** The header's value for an act: a play id, or an act of its own. */
export function traceparent(act?: string): string {
  const of = crypto.getRandomValues(new Uint8Array(8));
  of[0]! |= 1; // zero is no span
  return `00-${hex(act ? idBytes(act) : newId())}-${hex(of)}-00`;
}

/** Every call is an act of its own, but for one that names another. */
export const withTrace: Interceptor = (next) => (req) => {
  if (!req.header.has("traceparent")) req.header.set("traceparent", traceparent());
  return next(req);
};
