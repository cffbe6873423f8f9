import { describe, expect, it } from "vitest";
import type { Bytes } from "$lib/engine/bytes";
import { type DeviceKey, newDeviceKey, openSessionKey, setupReceiver, webCryptoKey } from "$lib/engine/hpke";
import { sealSessionKey } from "./fake-edge";

const bytes = (hexText: string) =>
  Uint8Array.from(hexText.match(/../g) ?? [], (x) => Number.parseInt(x, 16)) as Bytes;

async function fromSecret(secret: Bytes, publicKey: Bytes): Promise<DeviceKey> {
  // PKCS #8 of an X25519 key: a fixed head and the 32 bytes.
  const pkcs8 = new Uint8Array([...bytes("302e020100300506032b656e04220420"), ...secret]);
  const privateKey = await crypto.subtle.importKey("pkcs8", pkcs8, { name: "X25519" }, false, ["deriveBits"]);
  const pub = await crypto.subtle.importKey("raw", publicKey, { name: "X25519" }, true, []);
  return webCryptoKey({ privateKey, publicKey: pub });
}

describe("setupReceiver", () => {
  // RFC 9180, appendix A.1.1: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-128-GCM, base mode.
  it("opens the RFC's first message", async () => {
    const device = await fromSecret(
      bytes("4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8"),
      bytes("3948cfe0ad1ddb695d780e59077195da6c56506b027329794ab02bca80815c4d"),
    );
    const enc = bytes("37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431");
    const { key, nonce } = await setupReceiver(device, enc, bytes("4f6465206f6e2061204772656369616e2055726e"));
    expect(nonce).toEqual(bytes("56d890e5accaaf011cff4b7d"));
    const plain = await crypto.subtle.decrypt(
      { name: "AES-GCM", iv: nonce, additionalData: bytes("436f756e742d30") },
      key,
      bytes("f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c512a"),
    );
    expect(new Uint8Array(plain)).toEqual(bytes("4265617574792069732074727574682c20747275746820626561757479"));
  });
});

describe("openSessionKey", () => {
  const session = new Uint8Array(16).fill(9);

  it("opens what was sealed to this device, into a key that cannot be read", async () => {
    const device = await newDeviceKey();
    const kek = new Uint8Array(16).fill(7);
    const key = await openSessionKey(device, session, await sealSessionKey(device.publicKey, session, kek));
    expect(key.extractable).toBe(false);
    expect(key.algorithm).toMatchObject({ name: "AES-GCM", length: 128 });
  });
  it("refuses what was sealed to another, or for another session", async () => {
    const [a, b] = [await newDeviceKey(), await newDeviceKey()];
    const sealed = await sealSessionKey(a.publicKey, session, new Uint8Array(16));
    await expect(openSessionKey(b, session, sealed)).rejects.toThrow();
    await expect(openSessionKey(a, new Uint8Array(16), sealed)).rejects.toThrow();
    await expect(openSessionKey(a, session, sealed.slice(1))).rejects.toThrow();
  });
});
