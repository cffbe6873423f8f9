// Starts the real segue binary and a real Chromium for the browser tests.
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

/** An id as a trace has it: 32 hex digits for 22 characters of base62. */
export function traceOf(id) {
  const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  let n = 0n;
  for (const c of id) n = n * 62n + BigInt(alphabet.indexOf(c));
  return n.toString(16).padStart(32, "0");
}

export const password = "a password for this test";

/** Waits until the condition holds; its last value is the result. */
export async function until(what, condition, ms = 60_000) {
  const end = Date.now() + ms;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > end) throw new Error(`waited ${ms} ms for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** A segue process on a fresh data folder: E2E_BIN, or ../bin/segue. */
export async function startSegue() {
  const binary = process.env.E2E_BIN ?? here("../../bin/segue");
  if (!existsSync(binary)) throw new Error(`${binary} is missing: build it first, or set E2E_BIN`);
  const dir = mkdtempSync(join(tmpdir(), "segue-e2e-"));
  const file = (name) => join(dir, name);
  writeFileSync(file("password"), password, { mode: 0o600 });
  const log = openSync(file("log"), "w");
  const child = spawn(
    binary,
    [
      `-data=${file("data")}`,
      "-http.listen=127.0.0.1:0",
      "-quic.listen=127.0.0.1:0",
      `-user.admin-password.file=${file("password")}`,
      `-ready.file=${file("ready")}`,
    ],
    { stdio: ["ignore", log, log] },
  );
  let exited = false;
  child.on("exit", () => (exited = true));
  const ready = await until("segue", () => {
    if (exited) throw new Error(`segue ended:\n${readFileSync(file("log"), "utf8").slice(-4000)}`);
    try {
      return JSON.parse(readFileSync(file("ready"), "utf8"));
    } catch {
      return null;
    }
  });
  const ctl = (args, input = "") =>
    execFileSync(join(dirname(binary), "seguectl"), args, { input, encoding: "utf8", env: { ...process.env, SEGUECTL_CONFIG: file("ctl") } });
  return {
    url: ready.http,
    dir,
    /** Runs seguectl beside the binary, signed in as the admin. */
    ctl(...args) {
      if (!existsSync(file("ctl"))) ctl(["login", "--server", ready.http, "--user", "admin", "--password-stdin"], password);
      return ctl(args);
    },
    log: () => readFileSync(file("log"), "utf8"),
    async stop() {
      if (!exited) {
        child.kill("SIGTERM");
        await until("segue to end", () => exited, 30_000);
      }
      if (!process.env.E2E_KEEP) rmSync(dir, { recursive: true, force: true });
    },
  };
}

export function startBrowser() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--headless=new",
      "--no-sandbox",
      "--disable-gpu",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--autoplay-policy=no-user-gesture-required",
    ],
    ignoreDefaultArgs: ["--disable-quic"],
  });
}

/** Music made for the tests: an album whose two first tracks are one recording, cut at an odd sample. */
export function makeMusic(dir) {
  const out = join(dir, "music");
  mkdirSync(out);
  const run = (...args) => execFileSync("ffmpeg", ["-v", "error", "-y", ...args]);
  const cover = join(out, "cover.png");
  run("-f", "lavfi", "-i", "testsrc2=size=800x800", "-vf", "hue=h=160:s=2", "-frames:v", "1", cover);
  const sound = (seconds) =>
    `aevalsrc=0.25*sin(2*PI*(220+3*t)*t)+0.1*sin(2*PI*661*t)|0.25*sin(2*PI*(330-2*t)*t)+0.05*random(0):s=44100:d=${seconds}`;
  const cut = 441_001; // 10.00002 s
  const end = 882_345;
  const track = (name, number, title, filter, seconds) => {
    const file = join(out, name);
    const tags = { title, artist: "The <b>Testers</b>", album: "Seams & Joins", album_artist: "The <b>Testers</b>", track: `${number}/3`, date: "2021" };
    const metadata = Object.entries(tags).flatMap(([k, v]) => ["-metadata", `${k}=${v}`]);
    run(
      ...["-f", "lavfi", "-i", sound(seconds), "-i", cover, "-map", "0:a", "-map", "1:v", "-af", filter],
      ...["-c:a", "flac", "-sample_fmt", "s16", "-c:v", "png", "-disposition:v", "attached_pic", ...metadata, file],
    );
    return file;
  };
  return {
    files: [
      track("one.flac", 1, "First half", `atrim=start_sample=0:end_sample=${cut}`, 21),
      track("two.flac", 2, "Second half", `atrim=start_sample=${cut}:end_sample=${end},asetpts=PTS-STARTPTS`, 21),
      track("three.flac", 3, "A long one", "anull", 90),
    ],
    samples: [cut, end - cut, 90 * 44_100],
  };
}

/** Through the sign-in page, which works without JavaScript, back to the player. */
export async function signIn(page, url, user = "admin") {
  await page.goto(url);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByLabel("Username").fill(user);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("heading", { level: 1, name: "Albums" }).waitFor();
}

/** window.__segue: what the player measured. */
export const facts = (page) => page.evaluate(() => globalThis.__segue);

/** Keeps every byte that the streaming worker reads off the network, by stream. */
export async function recordWire(page) {
  const worker = await until("the worker", () => page.workers().find((w) => /worker-/.test(w.url())));
  await worker.evaluate(() => {
    const streams = new Map();
    globalThis.__wire = streams;
    const read = ReadableStreamDefaultReader.prototype.read;
    ReadableStreamDefaultReader.prototype.read = async function () {
      const result = await read.call(this);
      if (result.value) {
        if (!streams.has(this)) streams.set(this, []);
        streams.get(this).push(result.value.slice());
      }
      return result;
    };
  });
  return async () =>
    (
      await worker.evaluate(async () => {
        const text = async (chunks) => {
          const bytes = new Uint8Array(await new Blob(chunks).arrayBuffer());
          let out = "";
          for (let i = 0; i < bytes.length; i += 32_768) out += String.fromCharCode(...bytes.subarray(i, i + 32_768));
          return btoa(out);
        };
        return Promise.all([...globalThis.__wire.values()].map(text));
      })
    ).map((s) => Buffer.from(s, "base64"));
}

/** The frames of one stream: [type, payload]. */
export function frames(bytes) {
  const out = [];
  let at = 0;
  const varint = () => {
    const size = 1 << (bytes[at] >> 6);
    if (at + size > bytes.length) return -1;
    let n = bytes[at] & 0x3f;
    for (let i = 1; i < size; i++) n = n * 256 + bytes[at + i];
    at += size;
    return n;
  };
  while (at < bytes.length) {
    const type = varint();
    const length = varint();
    if (length < 0 || at + length > bytes.length) break; // cut off by a seek
    out.push([type, bytes.subarray(at, at + length)]);
    at += length;
  }
  return out;
}
