// Vorbis packets to PCM: WebCodecs where it has Vorbis, else libvorbis in WebAssembly.
import type { Bytes } from "./bytes";
import { type Headers, xiphDescription } from "./ogg";

/** Planes of one stretch of sound, all of the same length. */
export type Pcm = Float32Array<ArrayBuffer>[];

export interface VorbisDecoder {
  /** Takes packets in order; gives what has come out so far, which may lag behind. */
  decode(packets: Bytes[]): Promise<Pcm[]>;
  /** The end: gives all that is left. */
  flush(): Promise<Pcm[]>;
  close(): void;
}

export interface DecoderMaker {
  readonly name: "webcodecs" | "wasm";
  make(headers: Headers, rate: number, channels: number): Promise<VorbisDecoder>;
}

class WebCodecsDecoder implements VorbisDecoder {
  private out: Pcm[] = [];
  private failure: Error | null = null;
  private readonly decoder: AudioDecoder;
  private wake: () => void = () => {};
  private fed = 0;

  constructor(headers: Headers, rate: number, channels: number) {
    this.decoder = new AudioDecoder({
      output: (data) => {
        this.out.push(planesOf(data));
        data.close();
      },
      error: (e) => {
        this.failure = e;
        this.wake();
      },
    });
    this.decoder.addEventListener("dequeue", () => this.wake());
    this.decoder.configure({
      codec: "vorbis",
      sampleRate: rate,
      numberOfChannels: channels,
      description: xiphDescription(headers),
    });
  }

  async decode(packets: Bytes[]): Promise<Pcm[]> {
    for (const data of packets) {
      // Time stamps only order the chunks: positions are counted in samples.
      this.decoder.decode(new EncodedAudioChunk({ type: "key", timestamp: this.fed++ * 1000, data }));
    }
    while (this.decoder.state === "configured" && this.decoder.decodeQueueSize > 0 && !this.failure) {
      await new Promise<void>((resolve) => (this.wake = resolve));
    }
    return this.takeOut();
  }

  async flush(): Promise<Pcm[]> {
    if (this.decoder.state === "configured") await this.decoder.flush();
    return this.takeOut();
  }

  close(): void {
    if (this.decoder.state !== "closed") this.decoder.close();
    this.wake();
  }

  private takeOut(): Pcm[] {
    if (this.failure) throw this.failure;
    const out = this.out;
    this.out = [];
    return out;
  }
}

function planesOf(data: AudioData): Pcm {
  const planes: Pcm = [];
  for (let planeIndex = 0; planeIndex < data.numberOfChannels; planeIndex++) {
    const plane = new Float32Array(data.numberOfFrames);
    data.copyTo(plane, { planeIndex, format: "f32-planar" });
    planes.push(plane);
  }
  return planes;
}

const webCodecs: DecoderMaker = {
  name: "webcodecs",
  make: async (headers, rate, channels) => new WebCodecsDecoder(headers, rate, channels),
};

const wasm: DecoderMaker = {
  name: "wasm",
  async make(headers) {
    const { Decoder } = await import("segue-vorbis-wasm");
    const decoder = new Decoder();
    await decoder.ready;
    decoder.sendSetupHeader(headers.identification);
    decoder.sendSetupHeader(headers.setup);
    decoder.initDsp();
    return {
      async decode(packets) {
        const got = decoder.decodePackets(packets);
        return got.samplesDecoded > 0 ? [got.channelData] : [];
      },
      flush: async () => [],
      close: () => decoder.free(),
    };
  },
};

/** forced is for tests and for people whose browser says more than it can. */
export async function chooseDecoder(forced?: "webcodecs" | "wasm"): Promise<DecoderMaker> {
  if (forced === "wasm" || typeof AudioDecoder === "undefined") return wasm;
  const config = { codec: "vorbis", sampleRate: 44100, numberOfChannels: 2, description: new Uint8Array([2]) };
  const answer = await AudioDecoder.isConfigSupported(config).catch(() => null);
  return answer?.supported ? webCodecs : wasm;
}
