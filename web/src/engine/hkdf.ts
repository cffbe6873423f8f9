// HKDF-SHA256 (RFC 5869) in its two steps: WebCrypto has only both at once, and HPKE needs them apart.
import { type Bytes, concat } from "./bytes";

const hmacSha256 = { name: "HMAC", hash: "SHA-256" } as const;

async function hmac(key: Uint8Array, data: Bytes): Promise<Bytes> {
  // WebCrypto refuses an empty key; HMAC pads keys with zeros, so one zero is the same key.
  const raw = key.length === 0 ? new Uint8Array(1) : new Uint8Array(key);
  const k = await crypto.subtle.importKey("raw", raw, hmacSha256, false, ["sign"]);
  return new Uint8Array(await crypto.subtle.sign("HMAC", k, data));
}

export function extract(salt: Uint8Array, ikm: Bytes): Promise<Bytes> {
  return hmac(salt, ikm);
}

/** Up to 32 bytes: one block of the expansion, all that is ever needed here. */
export async function expand(prk: Uint8Array, info: Uint8Array, length: number): Promise<Bytes> {
  if (length > 32) throw new RangeError("more than one block");
  const block = await hmac(prk, concat(info, new Uint8Array([1])));
  return block.slice(0, length);
}
