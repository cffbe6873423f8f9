// The decoder beneath @wasm-audio-decoders/ogg-vorbis: libvorbis, packet by packet.
export interface Decoded {
  errors: { message: string }[];
  channelData: Float32Array<ArrayBuffer>[];
  samplesDecoded: number;
  sampleRate: number;
}
export interface PacketDecoder {
  readonly ready: Promise<void>;
  /** Takes the identification header first, then the setup header. */
  sendSetupHeader(packet: Uint8Array): void;
  initDsp(): void;
  decodePackets(packets: Uint8Array[]): Decoded;
  free(): void;
}
export const Decoder: { new (): PacketDecoder };
