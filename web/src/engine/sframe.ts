// SFrame (RFC 9605), cipher suite 4 (AES_128_GCM_SHA256_128), as segue/1 seals its records.
import { type Bytes, Malformed, concat, u32, u64, utf8 } from "./bytes";

const suite = new Uint8Array([0x00, 0x04]);
const none = new Uint8Array(0);

export interface Header {
  kid: bigint;
  ctr: bigint;
  length: number;
}

/** Section 4.3: one config byte, then KID and CTR where they do not fit into it. */
export function parseHeader(data: Uint8Array): Header {
  const config = data[0];
  if (config === undefined) throw new Malformed("empty SFrame");
  let at = 1;
  const field = (long: boolean, low: number): bigint => {
    if (!long) return BigInt(low);
    const bytes = data.subarray(at, at + low + 1);
    if (bytes.length !== low + 1) throw new Malformed("SFrame header too short");
    at += bytes.length;
    let n = 0n;
    for (const x of bytes) n = (n << 8n) | BigInt(x);
    return n;
  };
  const kid = field((config & 0x80) !== 0, (config >> 4) & 7);
  const ctr = field((config & 0x08) !== 0, config & 7);
  return { kid, ctr, length: at };
}

export interface RecordKey {
  key: CryptoKey;
  salt: Bytes;
}

/** Section 4.4.2: key and salt of one base key. The base key is an HKDF key in WebCrypto. */
export async function deriveRecordKey(base: CryptoKey, kid: bigint): Promise<RecordKey> {
  const info = (label: string) => concat(utf8(label), u64(kid), suite);
  const hkdf = (label: string) => ({ name: "HKDF", hash: "SHA-256", salt: none, info: info(label) });
  const key = await crypto.subtle.deriveKey(
    hkdf("SFrame 1.0 Secret key "),
    base,
    { name: "AES-GCM", length: 128 },
    false,
    ["decrypt"],
  );
  const salt = new Uint8Array(await crypto.subtle.deriveBits(hkdf("SFrame 1.0 Secret salt "), base, 96));
  return { key, salt };
}

export function importBaseKey(raw: Bytes): Promise<CryptoKey> {
  return crypto.subtle.importKey("raw", raw, "HKDF", false, ["deriveKey", "deriveBits"]);
}

/**
 * The content key of a HEAD: wrapped is nonce (12) || ciphertext (32), under the session key.
 * Nothing of it can be read by this page afterwards.
 */
export function unwrapBaseKey(
  session: CryptoKey,
  wrapped: Bytes,
  at: { objectId: Bytes; sealId: Bytes; kid: bigint; sessionId: Bytes },
): Promise<CryptoKey> {
  if (wrapped.length !== 44) throw new Malformed("wrapped key of the wrong length");
  return crypto.subtle.unwrapKey(
    "raw",
    wrapped.slice(12),
    session,
    {
      name: "AES-GCM",
      iv: wrapped.slice(0, 12),
      additionalData: concat(at.objectId, at.sealId, u64(at.kid), at.sessionId),
    },
    "HKDF",
    false,
    ["deriveKey", "deriveBits"],
  );
}

/** Section 4.4.3: decrypts one SFrame ciphertext, whose header is checked against what is expected. */
export async function openFrame(
  k: RecordKey,
  expected: { kid: bigint; ctr: bigint },
  metadata: Uint8Array,
  sealed: Bytes,
): Promise<Bytes> {
  const header = parseHeader(sealed);
  if (header.kid !== expected.kid) throw new Malformed("SFrame of another key");
  if (header.ctr !== expected.ctr) throw new Malformed("SFrame out of order");
  const iv = k.salt.slice();
  const counter = u64(header.ctr);
  for (let i = 0; i < 8; i++) iv[4 + i]! ^= counter[i]!;
  const additionalData = concat(sealed.subarray(0, header.length), metadata);
  const plain = await crypto.subtle.decrypt(
    { name: "AES-GCM", iv, additionalData },
    k.key,
    sealed.subarray(header.length),
  );
  return new Uint8Array(plain);
}

/** Opens the records of one sealed object. */
export class RecordOpener {
  constructor(
    private readonly key: RecordKey,
    private readonly kid: bigint,
    private readonly sealId: Bytes,
    private readonly recordCount: number,
  ) {}

  open(number: number, ciphertext: Bytes): Promise<Bytes> {
    const last = number === this.recordCount - 1 ? 1 : 0;
    const metadata = concat(utf8("segue1"), this.sealId, u32(this.recordCount), new Uint8Array([last]));
    return openFrame(this.key, { kid: this.kid, ctr: BigInt(number) }, metadata, ciphertext);
  }
}
