// Files on their way up (tus protocol) and through the pipeline.
import { DefaultHttpStack, type PreviousUpload, Upload as Tus } from "tus-js-client";
import { sentence } from "$lib/api/clients";
import { traceparent } from "$lib/api/trace";
import { uploads } from "$lib/api/uploads";
import { auth } from "$lib/auth/auth.svelte";
import { type Upload, UploadState } from "$lib/gen/segue/upload/v1/upload_pb";

const endpoint = "/upload/v1/files/";
const atOnce = 2;
const chunkBytes = 8 << 20;
const pauses = [1_000, 3_000, 10_000];

/** A file of this visit, until the server knows it. */
export interface Sending {
  key: number;
  name: string;
  size: number;
  sent: number;
  error: string | null;
  /** The upload's id on the server, once it has one. */
  id: string | null;
  tus: Tus | null;
}

export class Uploader {
  sending = $state<Sending[]>([]);
  known = $state.raw<ReadonlyMap<string, Upload>>(new Map());
  error = $state<string | null>(null);
  loading = $state(true);
  readonly list = $derived([...this.known.values()].sort((a, b) => Number(b.createdUnixMs - a.createdUnixMs)));
  private files = new Map<number, File>();
  private last = 0;
  private running = 0;
  private watch: AbortController | null = null;
  private closed = false;
  /** Sent on this visit: watched although the list does not know them yet. */
  private readonly mine = new Set<string>();

  async load(): Promise<void> {
    this.error = null;
    try {
      const r = await uploads.listUploads({ pageSize: 100 });
      this.learn(r.uploads);
      this.follow();
    } catch (e) {
      this.error = sentence(e);
    } finally {
      this.loading = false;
    }
  }

  add(files: Iterable<File>): void {
    for (const file of files) {
      const key = ++this.last;
      this.files.set(key, file);
      this.sending.push({ key, name: file.name, size: file.size, sent: 0, error: null, id: null, tus: null });
    }
    this.next();
  }

  cancel(s: Sending): void {
    void s.tus?.abort(true).catch(() => undefined);
    this.drop(s.key);
  }

  again(s: Sending): void {
    s.error = null;
    s.tus = null;
    this.next();
  }

  async retry(u: Upload): Promise<void> {
    try {
      const r = await uploads.retryUpload({ id: u.id });
      if (r.upload) this.learn([r.upload]);
      this.follow();
    } catch (e) {
      this.error = sentence(e);
    }
  }

  close(): void {
    this.closed = true;
    this.watch?.abort();
    for (const s of this.sending) void s.tus?.abort();
  }

  private drop(key: number): void {
    this.sending = this.sending.filter((s) => s.key !== key);
    this.files.delete(key);
  }

  private next(): void {
    for (const s of this.sending) {
      if (this.running >= atOnce) return;
      if (!s.tus && !s.error) this.send(s);
    }
  }

  private send(s: Sending): void {
    const file = this.files.get(s.key);
    if (!file) return;
    this.running++;
    const over = () => {
      this.running--;
      if (!this.closed) this.next();
    };
    const trace = traceparent(); // one act, however many requests it takes
    const tus = new Tus(file, {
      endpoint,
      httpStack: new DefaultHttpStack({}),
      chunkSize: chunkBytes,
      retryDelays: pauses,
      removeFingerprintOnSuccess: true,
      metadata: { filename: file.name, filetype: file.type },
      onBeforeRequest: async (req) => {
        const token = await auth.accessToken();
        if (token) req.setHeader("Authorization", `Bearer ${token}`);
        req.setHeader("traceparent", trace);
      },
      onProgress: (sent) => (s.sent = sent),
      onUploadUrlAvailable: () => (s.id = idOf(tus.url)),
      onError: (e) => {
        s.error = refusal(e);
        over();
      },
      onSuccess: () => {
        const id = idOf(tus.url);
        this.drop(s.key);
        over();
        if (id) this.follow(id);
      },
    });
    s.tus = tus;
    // A file that was cut off on an earlier visit goes on where it stopped.
    tus
      .findPreviousUploads()
      .then((found: PreviousUpload[]) => found[0] && tus.resumeFromPreviousUpload(found[0]))
      .catch(() => undefined)
      .finally(() => tus.start());
  }

  private learn(list: readonly Upload[]): void {
    const known = new Map(this.known);
    for (const u of list) known.set(u.id, u);
    this.known = known;
  }

  /** Watches all that is not finished, and the one named. */
  private follow(added?: string): void {
    if (added) this.mine.add(added);
    const open = [...this.known.keys(), ...this.mine].filter((id) => !finished(this.known.get(id)));
    const ids = new Set(open);
    this.watch?.abort();
    if (ids.size === 0 || this.closed) return;
    this.watch = new AbortController();
    void this.watchAll([...ids].slice(0, 1000), this.watch.signal);
  }

  private async watchAll(ids: string[], signal: AbortSignal): Promise<void> {
    for (let attempt = 0; !signal.aborted; attempt++) {
      try {
        for await (const { upload } of uploads.watchUploads({ ids }, { signal })) {
          attempt = 0;
          if (upload) this.learn([upload]);
          if (ids.every((id) => finished(this.known.get(id)))) return;
        }
      } catch {
        // Taken up again below.
      }
      await new Promise((resolve) => setTimeout(resolve, pauses[Math.min(attempt, pauses.length - 1)]));
    }
  }
}

export function finished(u: Upload | undefined): boolean {
  return u !== undefined && [UploadState.COMPLETE, UploadState.FAILED, UploadState.DUPLICATE].includes(u.state);
}

function idOf(url: string | null): string | null {
  return url?.split("/").filter(Boolean).at(-1)?.split("+")[0] ?? null;
}

function refusal(e: unknown): string {
  const status = (e as { originalResponse?: { getStatus(): number } | null }).originalResponse?.getStatus();
  switch (status) {
    case 413:
      return "The file is too large.";
    case 403:
      return "Your account may not upload.";
    case 429:
    case 507:
      return "Your quota is used up.";
    case 415:
      return "This is not a kind of file that Segue reads.";
    default:
      return "The file could not be sent.";
  }
}
