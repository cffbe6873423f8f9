// Ogg pages (RFC 3533) to packets. Checksums are not looked at: a record is authenticated before it comes here.
import { type Bytes, Malformed, concat } from "./bytes";

export interface Page {
  granule: bigint;
  continued: boolean;
  last: boolean;
  lacing: Bytes;
  body: Bytes;
}

export function pages(data: Bytes): Page[] {
  const out: Page[] = [];
  let at = 0;
  while (at < data.length) {
    if (data.length - at < 27) throw new Malformed("Ogg page cut short");
    const view = new DataView(data.buffer, data.byteOffset + at);
    if (view.getUint32(0) !== 0x4f676753 || view.getUint8(4) !== 0) throw new Malformed("no Ogg page");
    const flags = view.getUint8(5);
    const segments = view.getUint8(26);
    const lacing = data.subarray(at + 27, at + 27 + segments);
    const length = lacing.reduce((n, x) => n + x, 0);
    const start = at + 27 + segments;
    if (lacing.length !== segments || start + length > data.length) throw new Malformed("Ogg page cut short");
    out.push({
      granule: view.getBigInt64(6, true),
      continued: (flags & 1) !== 0,
      last: (flags & 4) !== 0,
      lacing,
      body: data.subarray(start, start + length),
    });
    at = start + length;
  }
  return out;
}

/** Puts packets together, also those that run over a page's end. */
export class Packets {
  private open: Bytes | null = null;

  take(page: Page): Bytes[] {
    const out: Bytes[] = [];
    let held: Bytes | null = page.continued ? this.open : null;
    // The tail of a packet whose beginning was never seen is no packet.
    let orphan = page.continued && this.open === null;
    let start = 0;
    let end = 0;
    for (const n of page.lacing) {
      end += n;
      if (n === 255) continue;
      const part = page.body.subarray(start, end);
      if (!orphan) out.push(held ? concat(held, part) : part);
      held = null;
      orphan = false;
      start = end;
    }
    const tail = page.body.subarray(start, end);
    const runsOn = page.lacing.length > 0 && page.lacing[page.lacing.length - 1] === 255;
    this.open = runsOn && !orphan ? (held ? concat(held, tail) : tail) : null;
    return out;
  }
}

export interface Headers {
  identification: Bytes;
  comment: Bytes;
  setup: Bytes;
}

/** The three Vorbis headers of a setup (Vorbis I, section 4.2). */
export function vorbisHeaders(setup: Bytes): Headers {
  const packets = new Packets();
  const found = pages(setup).flatMap((p) => packets.take(p));
  const [identification, comment, tables] = found;
  if (found.length !== 3 || !identification || !comment || !tables) throw new Malformed("not three Vorbis headers");
  if (identification[0] !== 1 || comment[0] !== 3 || tables[0] !== 5) throw new Malformed("not Vorbis headers");
  return { identification, comment, setup: tables };
}

/** The description that WebCodecs wants: packet count less one, Xiph lengths, the packets. */
export function xiphDescription(h: Headers): Bytes {
  const laced = (n: number) => concat(new Uint8Array(Math.floor(n / 255)).fill(255), new Uint8Array([n % 255]));
  return concat(
    new Uint8Array([2]),
    laced(h.identification.length),
    laced(h.comment.length),
    h.identification,
    h.comment,
    h.setup,
  );
}
