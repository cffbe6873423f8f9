// An edge in memory, for tests: seals an Ogg file as the protocol says and answers PLAYs. It shares no code
// with the player but the integers, so that a wrong idea of the format shows.
import { Decoder } from "segue-vorbis-wasm";
import { type Bytes, concat, hex, idBytes, u32, u64, utf8, varint } from "$lib/engine/bytes";
import type { Head, Kbps } from "$lib/engine/frames";
import { Meter } from "$lib/engine/meter";
import { Packets, pages, vorbisHeaders } from "$lib/engine/ogg";
import type { Session } from "$lib/engine/session";
import type { Answer, TransportKind } from "$lib/engine/transport";

export function sampleHead(): Head {
  return {
    objectId: new Uint8Array(16).fill(1),
    sealId: new Uint8Array(16).fill(2),
    kid: 1n,
    wrappedKey: new Uint8Array(44).fill(3),
    codec: 1,
    rate: 44100,
    channels: 2,
    totalSamples: 100_000,
    preSkip: 0,
    recordCount: 9,
    firstRecord: 0,
    firstSample: 0,
    gainTrackDb: -6.5,
    gainAlbumDb: -6,
    peakDb: -1,
    setupId: new Uint8Array(8).fill(4),
    setup: new Uint8Array(5),
  };
}

const i16 = (n: number) => new Uint8Array([(n >> 8) & 0xff, n & 0xff]);
const blob = (b: Uint8Array) => concat(varint(b.length), b);
const raw = (type: number, payload: Bytes) => concat(varint(type), varint(payload.length), payload);

export function headFrame(h: Head): Bytes {
  return raw(
    0x10,
    concat(
      h.objectId,
      h.sealId,
      varint(Number(h.kid)),
      blob(h.wrappedKey),
      new Uint8Array([h.codec]),
      varint(h.rate),
      new Uint8Array([h.channels]),
      varint(h.totalSamples),
      varint(h.preSkip),
      varint(h.recordCount),
      varint(h.firstRecord),
      varint(h.firstSample),
      i16(h.gainTrackDb * 256),
      i16(h.gainAlbumDb * 256),
      i16(h.peakDb * 256),
      h.setupId,
      blob(h.setup),
      varint(0),
    ),
  );
}

async function hmac(key: Uint8Array, data: Bytes): Promise<Bytes> {
  const raw32 = key.length > 0 ? new Uint8Array(key) : new Uint8Array(32);
  const k = await crypto.subtle.importKey("raw", raw32, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return new Uint8Array(await crypto.subtle.sign("HMAC", k, data));
}

async function gcm(key: Bytes, iv: Bytes, additionalData: Bytes, plain: Bytes): Promise<Bytes> {
  const k = await crypto.subtle.importKey("raw", key, "AES-GCM", false, ["encrypt"]);
  return new Uint8Array(await crypto.subtle.encrypt({ name: "AES-GCM", iv, additionalData }, k, plain));
}

/** HPKE, sender's side. */
export async function sealSessionKey(devicePublic: Bytes, session: Bytes, kek: Bytes): Promise<Bytes> {
  const pair = (await crypto.subtle.generateKey({ name: "X25519" }, false, ["deriveBits"])) as CryptoKeyPair;
  const enc = new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey));
  const theirs = await crypto.subtle.importKey("raw", devicePublic, { name: "X25519" }, false, []);
  const dh = new Uint8Array(await crypto.subtle.deriveBits({ name: "X25519", public: theirs }, pair.privateKey, 256));
  const kem = concat(utf8("KEM"), new Uint8Array([0, 0x20]));
  const suite = concat(utf8("HPKE"), new Uint8Array([0, 0x20, 0, 1, 0, 1]));
  const none = new Uint8Array(0);
  const pull = (s: Bytes, salt: Uint8Array, label: string, ikm: Uint8Array) =>
    hmac(salt, concat(utf8("HPKE-v1"), s, utf8(label), ikm));
  const push = async (s: Bytes, prk: Bytes, label: string, info: Uint8Array, n: number) =>
    (await hmac(prk, concat(new Uint8Array([0, n]), utf8("HPKE-v1"), s, utf8(label), info, new Uint8Array([1])))).slice(0, n);
  const shared = await push(kem, await pull(kem, none, "eae_prk", dh), "shared_secret", concat(enc, devicePublic), 32);
  const info = concat(utf8("segue/1 session key"), session);
  const context = concat(
    new Uint8Array([0]),
    await pull(suite, none, "psk_id_hash", none),
    await pull(suite, none, "info_hash", info),
  );
  const secret = await pull(suite, shared, "secret", none);
  const key = await push(suite, secret, "key", context, 16);
  const nonce = await push(suite, secret, "base_nonce", context, 12);
  return concat(enc, await gcm(key, nonce, none, kek));
}

// Finding each record's first sample takes many decodes: once per run is enough.
const sealedBefore = new Map<string, Promise<Sealed>>();

interface Sealed {
  head: Head;
  records: { cipher: Bytes; start: number; first: number }[];
  baseKey: Bytes;
}

/** Splits an Ogg file into setup and records of about 250 ms, and seals them. */
async function seal(ogg: Bytes, fill: number): Promise<Sealed> {
  const all = pages(ogg);
  const headers = all.findIndex((p) => p.granule > 0n);
  const offset = (n: number) => all.slice(0, n).reduce((sum, p) => sum + 27 + p.lacing.length + p.body.length, 0);
  const setup = ogg.slice(0, offset(headers));
  const parts = all.slice(headers).map((p, i) => ({
    plain: ogg.slice(offset(headers + i), offset(headers + i + 1)),
    end: Number(p.granule),
  }));
  const decoded = await Promise.all(parts.map((_, i) => frames(setup, parts.slice(i).map((p) => p.plain))));

  const sealId = new Uint8Array(16).fill(fill);
  const baseKey = crypto.getRandomValues(new Uint8Array(16));
  const kid = 1n;
  const secret = await hmac(new Uint8Array(0), baseKey);
  const label = (text: string) => concat(utf8(text), u64(kid), new Uint8Array([0, 4]), new Uint8Array([1]));
  const key = (await hmac(secret, label("SFrame 1.0 Secret key "))).slice(0, 16);
  const salt = (await hmac(secret, label("SFrame 1.0 Secret salt "))).slice(0, 12);

  const records = await Promise.all(
    parts.map(async (p, i) => {
      const header = i < 8 ? new Uint8Array([0x10 | i]) : new Uint8Array([0x18, i]);
      const iv = salt.slice();
      iv[11]! ^= i;
      const last = i === parts.length - 1 ? 1 : 0;
      const aad = concat(header, utf8("segue1"), sealId, u32(parts.length), new Uint8Array([last]));
      return {
        cipher: concat(header, await gcm(key, iv, aad, p.plain)),
        start: i === 0 ? 0 : parts[i - 1]!.end,
        first: decoded[0]! - decoded[i]!,
      };
    }),
  );
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", concat(...records.map((r) => r.cipher))));
  const setupHash = new Uint8Array(await crypto.subtle.digest("SHA-256", setup));
  const head: Head = {
    ...sampleHead(),
    objectId: hash.slice(0, 16),
    sealId,
    kid,
    totalSamples: parts.at(-1)!.end,
    recordCount: records.length,
    gainTrackDb: 0,
    setupId: setupHash.slice(0, 8),
    setup,
  };
  return { head, records, baseKey };
}

async function frames(setup: Bytes, parts: Bytes[]): Promise<number> {
  const pcm = await decodeAll(setup, parts);
  return pcm[0]!.length;
}

/** What a decoder makes of it all, uncut. */
export async function decodeAll(setup: Bytes, parts: Bytes[]): Promise<Float32Array[]> {
  const decoder = new Decoder();
  await decoder.ready;
  const h = vorbisHeaders(setup);
  decoder.sendSetupHeader(h.identification);
  decoder.sendSetupHeader(h.setup);
  decoder.initDsp();
  const packets = new Packets();
  const found = parts.flatMap((p) => pages(p)).flatMap((p) => packets.take(p));
  const out = decoder.decodePackets(found).channelData.map((c) => c.slice());
  decoder.free();
  return out;
}

/** The whole of an Ogg file, cut to its length. */
export async function reference(ogg: Bytes): Promise<Float32Array[]> {
  const all = pages(ogg);
  const n = all.findIndex((p) => p.granule > 0n);
  const at = all.slice(0, n).reduce((sum, p) => sum + 27 + p.lacing.length + p.body.length, 0);
  const pcm = await decodeAll(ogg.slice(0, at), [ogg.slice(at)]);
  return pcm.map((c) => c.slice(0, Number(all.at(-1)!.granule)));
}

export interface Ask {
  track: string;
  kbps: number;
  fromMs: number;
  untilMs: number;
  flags: number;
  setups: number;
  playId: string;
}

export class FakeEdge {
  readonly asks: Ask[] = [];
  /** Answers the next PLAYs with these error codes. */
  refuse: number[] = [];
  /** Cuts the connection after so many records, once. */
  cutAfter = Infinity;
  /** Everything that crossed the wire. */
  readonly wire: Bytes[] = [];
  private readonly objects = new Map<string, Sealed>();
  private readonly kek = crypto.getRandomValues(new Uint8Array(16));
  private readonly sessionId = new Uint8Array(16).fill(0x5e);

  constructor(private readonly kind: TransportKind) {}

  async put(trackId: string, kbps: Kbps, ogg: Bytes, gain = { trackDb: 0, peakDb: 0 }): Promise<void> {
    const fill = this.objects.size + 1;
    const key = `${ogg.length}/${fill}`;
    const sealed = sealedBefore.get(key) ?? seal(ogg, fill);
    sealedBefore.set(key, sealed);
    const { head, ...rest } = await sealed;
    const levelled = { ...head, gainTrackDb: gain.trackDb, peakDb: gain.peakDb };
    this.objects.set(`${hex(idBytes(trackId))}/${kbps}`, { ...rest, head: levelled });
  }

  totalSamples(trackId: string, kbps: Kbps): number {
    return this.objects.get(`${hex(idBytes(trackId))}/${kbps}`)!.head.totalSamples;
  }

  async session(): Promise<Session> {
    const s: Session = {
      id: this.sessionId,
      key: await crypto.subtle.importKey("raw", this.kek, "AES-GCM", false, ["unwrapKey"]),
      ticket: new Uint8Array([1, 2, 3]),
      maxKbps: 320,
      meter: new Meter(),
      setups: new Map(),
      renew: async () => void (s.ticket = new Uint8Array([4, 5, 6])),
      received: () => {},
      transport: { open: async (make) => this.answer(make()), close: () => {} },
    };
    return s;
  }

  private async answer(play: Bytes): Promise<Answer> {
    const chunks = await this.play(play);
    let credit = this.creditMs;
    let cancelled = false;
    let wake = () => {};
    const next = async (): Promise<Bytes | null> => {
      for (;;) {
        const c = chunks[0];
        if (cancelled) throw new Error("cancelled");
        if (!c) return null;
        if (c.atMs < credit) {
          chunks.shift();
          if (c.cut) throw new Error("connection lost");
          this.wire.push(c.bytes);
          return c.bytes;
        }
        if (this.kind === "fetch") {
          chunks.length = 0;
          return raw(0x13, new Uint8Array([1, 0]));
        }
        await new Promise<void>((resolve) => (wake = resolve));
      }
    };
    return {
      kind: this.kind,
      read: next,
      credit: (ms) => ((credit = Math.max(credit, ms)), wake()),
      cancel: () => ((cancelled = true), wake()),
    };
  }
  private creditMs = 0;

  private async play(frame: Bytes): Promise<{ bytes: Bytes; atMs: number; cut?: boolean }[]> {
    const b = frame.subarray(varintSkip(frame));
    const flags = b[1]!;
    const track = hex(b.subarray(2, 18));
    const kbps = [0, 24, 96, 160, 320][b[34]!]!;
    let at = 36;
    const number = () => {
      const size = 1 << (b[at]! >> 6);
      let n = b[at]! & 0x3f;
      for (let i = 1; i < size; i++) n = n * 256 + b[at + i]!;
      at += size;
      return n;
    };
    const [fromMs, untilMs, creditMs] = [number(), number(), number()];
    const setups = b[at]!;
    const held = Array.from({ length: setups }, (_, i) => hex(b.subarray(at + 1 + 8 * i, at + 9 + 8 * i)));
    this.asks.push({ track, kbps, fromMs, untilMs, flags, setups, playId: hex(b.subarray(18, 34)) });
    this.creditMs = fromMs + creditMs;
    const error = this.refuse.shift();
    const object = this.objects.get(`${track}/${kbps}`);
    if (error || !object) {
      return [{ bytes: raw(0x1f, concat(varint(error ?? 8), varint(0), utf8("no"))), atMs: -1 }];
    }
    return this.records(object, flags, fromMs, untilMs, held.includes(hex(object.head.setupId)));
  }

  private async records(o: Sealed, flags: number, fromMs: number, untilMs: number, hasSetup: boolean) {
    const rate = o.head.rate;
    const target = Math.floor((fromMs * rate) / 1000);
    const first = Math.max(0, o.records.findLastIndex((r) => r.first <= target));
    const nonce = crypto.getRandomValues(new Uint8Array(12));
    const aad = concat(o.head.objectId, o.head.sealId, u64(o.head.kid), this.sessionId);
    const wrapped = concat(nonce, await gcm(this.kek, nonce, aad, o.baseKey));
    const out: { bytes: Bytes; atMs: number; cut?: boolean }[] = [];
    out.push({
      bytes: headFrame({
        ...o.head,
        wrappedKey: flags & 2 ? new Uint8Array(0) : wrapped,
        firstRecord: first,
        firstSample: o.records[first]!.first,
        setup: hasSetup ? new Uint8Array(0) : o.head.setup,
      }),
      atMs: -1,
    });
    let last = first;
    let reason = 0;
    for (let i = first; i < o.records.length; i++) {
      const atMs = (o.records[i]!.start * 1000) / rate;
      if (untilMs > 0 && atMs >= untilMs) {
        reason = 1;
        break;
      }
      if (i - first >= this.cutAfter) {
        this.cutAfter = Infinity;
        out.push({ bytes: new Uint8Array(0), atMs: -1, cut: true });
        return out;
      }
      out.push({ bytes: raw(0x11, concat(varint(i), o.records[i]!.cipher)), atMs });
      last = i;
    }
    out.push({ bytes: raw(0x13, concat(new Uint8Array([reason]), varint(last))), atMs: -1 });
    return out;
  }
}

function varintSkip(frame: Bytes): number {
  const type = 1 << (frame[0]! >> 6);
  return type + (1 << (frame[type]! >> 6));
}
