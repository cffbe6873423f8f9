// Integers and ids as segue/1 writes them: big endian, QUIC varints (RFC 9000, section 16).

export type Bytes = Uint8Array<ArrayBuffer>;

/** Thrown for bytes that are not what the protocol says. */
export class Malformed extends Error {
  override name = "Malformed";
}

export function concat(...parts: Uint8Array[]): Bytes {
  const out = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const p of parts) {
    out.set(p, at);
    at += p.length;
  }
  return out;
}

export function utf8(text: string): Bytes {
  return new TextEncoder().encode(text) as Bytes;
}

export function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((x, i) => x === b[i]);
}

export function hex(b: Uint8Array): string {
  return Array.from(b, (x) => x.toString(16).padStart(2, "0")).join("");
}

/** A number of up to 2^53-1 in its shortest QUIC varint. */
export function varint(n: number): Bytes {
  if (!Number.isSafeInteger(n) || n < 0) throw new RangeError(`varint of ${n}`);
  if (n < 0x40) return new Uint8Array([n]);
  if (n < 0x4000) return new Uint8Array([0x40 | (n >> 8), n & 0xff]);
  if (n < 0x4000_0000) {
    return new Uint8Array([0x80 | (n >>> 24), (n >>> 16) & 0xff, (n >>> 8) & 0xff, n & 0xff]);
  }
  const out = new Uint8Array(8);
  new DataView(out.buffer).setBigUint64(0, BigInt(n) | (3n << 62n));
  return out;
}

/** u64 in big endian. */
export function u64(n: bigint): Bytes {
  const out = new Uint8Array(8);
  new DataView(out.buffer).setBigUint64(0, n);
  return out;
}

export function u32(n: number): Bytes {
  const out = new Uint8Array(4);
  new DataView(out.buffer).setUint32(0, n);
  return out;
}

/** Length in bytes of the varint that begins with this byte. */
export function varintLength(first: number): number {
  return 1 << (first >> 6);
}

/** Reads the fields of one payload; throws Malformed past its end. */
export class Reader {
  private at = 0;
  private readonly view: DataView;

  constructor(private readonly data: Bytes) {
    this.view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  }

  get left(): number {
    return this.data.length - this.at;
  }

  bytes(n: number): Bytes {
    if (n > this.left) throw new Malformed("payload too short");
    this.at += n;
    return this.data.subarray(this.at - n, this.at);
  }

  rest(): Bytes {
    return this.bytes(this.left);
  }

  u8(): number {
    return this.bytes(1)[0]!;
  }

  i16(): number {
    this.bytes(2);
    return this.view.getInt16(this.at - 2);
  }

  bigVarint(): bigint {
    if (this.left < 1) throw new Malformed("payload too short");
    const b = this.bytes(varintLength(this.data[this.at]!));
    let n = BigInt(b[0]! & 0x3f);
    for (const x of b.subarray(1)) n = (n << 8n) | BigInt(x);
    return n;
  }

  /** A varint that has to be a safe integer. */
  varint(): number {
    const n = this.bigVarint();
    if (n > BigInt(Number.MAX_SAFE_INTEGER)) throw new Malformed("number too large");
    return Number(n);
  }

  /** The payload has no bytes after its last field. */
  end(): void {
    if (this.left !== 0) throw new Malformed("bytes after the last field");
  }
}

const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/** 16 bytes as 22 characters of base62. */
export function idText(id: Uint8Array): string {
  let n = BigInt("0x" + hex(id));
  let out = "";
  for (let i = 0; i < 22; i++) {
    out = alphabet[Number(n % 62n)]! + out;
    n /= 62n;
  }
  return out;
}

/** The 16 bytes that 22 characters of base62 hold. */
export function idBytes(text: string): Bytes {
  if (!/^[0-9A-Za-z]{22}$/.test(text)) throw new Malformed("not an id");
  let n = 0n;
  for (const c of text) n = n * 62n + BigInt(alphabet.indexOf(c));
  if (n >> 128n) throw new Malformed("not an id");
  return concat(u64(n >> 64n), u64(n & 0xffff_ffff_ffff_ffffn));
}

/** A fresh id: 48 bits of milliseconds, 80 random bits. */
export function newId(now = Date.now()): Bytes {
  const out = crypto.getRandomValues(new Uint8Array(16));
  out.set(u64(BigInt(now)).subarray(2), 0);
  return out;
}
