// HPKE base mode (RFC 9180), receiver's side: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-128-GCM.
import { type Bytes, concat, utf8 } from "./bytes";
import { expand, extract } from "./hkdf";

const kemSuite = concat(utf8("KEM"), new Uint8Array([0x00, 0x20]));
const hpkeSuite = concat(utf8("HPKE"), new Uint8Array([0x00, 0x20, 0x00, 0x01, 0x00, 0x01]));
const none = new Uint8Array(0);

/** The device's key pair. The private half never leaves WebCrypto where that has X25519. */
export interface DeviceKey {
  publicKey: Bytes;
  /** The Diffie-Hellman shared secret with another's public key. */
  agree(theirs: Bytes): Promise<Bytes>;
}

export async function newDeviceKey(): Promise<DeviceKey> {
  let pair: CryptoKeyPair;
  try {
    pair = (await crypto.subtle.generateKey({ name: "X25519" }, false, ["deriveBits"])) as CryptoKeyPair;
  } catch (cause) {
    if (!(cause instanceof DOMException) || cause.name !== "NotSupportedError") throw cause;
    return fallbackKey();
  }
  return webCryptoKey(pair);
}

export async function webCryptoKey(pair: CryptoKeyPair): Promise<DeviceKey> {
  const publicKey = new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey));
  return {
    publicKey,
    async agree(theirs) {
      const key = await crypto.subtle.importKey("raw", theirs, { name: "X25519" }, false, []);
      const bits = await crypto.subtle.deriveBits({ name: "X25519", public: key }, pair.privateKey, 256);
      return new Uint8Array(bits);
    },
  };
}

/** For browsers whose WebCrypto has no X25519 (Chrome before 133, Safari before 17). */
async function fallbackKey(): Promise<DeviceKey> {
  const { x25519 } = await import("@noble/curves/ed25519.js");
  const secret = x25519.utils.randomSecretKey();
  return {
    publicKey: new Uint8Array(x25519.getPublicKey(secret)),
    agree: async (theirs) => new Uint8Array(x25519.getSharedSecret(secret, theirs)),
  };
}

function labeledExtract(suite: Bytes, salt: Bytes, label: string, ikm: Bytes): Promise<Bytes> {
  return extract(salt, concat(utf8("HPKE-v1"), suite, utf8(label), ikm));
}

function labeledExpand(suite: Bytes, prk: Bytes, label: string, info: Bytes, length: number): Promise<Bytes> {
  return expand(prk, concat(new Uint8Array([length >> 8, length & 0xff]), utf8("HPKE-v1"), suite, utf8(label), info), length);
}

export interface Context {
  key: CryptoKey;
  nonce: Bytes;
}

/** SetupBaseR of section 5.1.1; the context is good for sequence number 0. */
export async function setupReceiver(device: DeviceKey, enc: Bytes, info: Bytes): Promise<Context> {
  const dh = await device.agree(enc);
  const kemContext = concat(enc, device.publicKey);
  const eae = await labeledExtract(kemSuite, none, "eae_prk", dh);
  const shared = await labeledExpand(kemSuite, eae, "shared_secret", kemContext, 32);

  const pskIdHash = await labeledExtract(hpkeSuite, none, "psk_id_hash", none);
  const infoHash = await labeledExtract(hpkeSuite, none, "info_hash", info);
  const schedule = concat(new Uint8Array([0]), pskIdHash, infoHash);
  const secret = await labeledExtract(hpkeSuite, shared, "secret", none);
  const raw = await labeledExpand(hpkeSuite, secret, "key", schedule, 16);
  const nonce = await labeledExpand(hpkeSuite, secret, "base_nonce", schedule, 12);
  const key = await crypto.subtle.importKey("raw", raw, "AES-GCM", false, ["decrypt", "unwrapKey"]);
  return { key, nonce };
}

/**
 * The session key of an OpenSession reply: sealed is enc (32) || ciphertext (32). It is unwrapped
 * into WebCrypto and cannot be read by this page.
 */
export async function openSessionKey(device: DeviceKey, sessionId: Bytes, sealed: Bytes): Promise<CryptoKey> {
  if (sealed.length !== 64) throw new Error("sealed session key of the wrong length");
  const info = concat(utf8("segue/1 session key"), sessionId);
  const { key, nonce } = await setupReceiver(device, sealed.slice(0, 32), info);
  return crypto.subtle.unwrapKey(
    "raw",
    sealed.slice(32),
    key,
    { name: "AES-GCM", iv: nonce, additionalData: none },
    { name: "AES-GCM" },
    false,
    ["unwrapKey"],
  );
}
