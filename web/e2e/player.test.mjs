// The player against the real server: sign in, upload, play over both transports, seek, join, look.
import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRequire } from "node:module";
import { after, before, describe, it } from "node:test";
import { facts, frames, makeMusic, recordWire, signIn, startBrowser, startSegue, traceOf, until } from "./harness.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const shots = process.env.E2E_SHOTS ?? join(tmpdir(), "segue-shots");
const desktop = { width: 1440, height: 900 };
const phone = { width: 390, height: 844 };

let segue, browser, context, page, music, wire, clicked;
const complaints = [];

before(async () => {
  mkdirSync(shots, { recursive: true });
  segue = await startSegue();
  music = makeMusic(segue.dir);
  browser = await startBrowser();
  context = await browser.newContext({ viewport: desktop, colorScheme: "dark" });
  context.setDefaultTimeout(15_000);
  page = await context.newPage();
  page.on("console", (m) => m.type() === "error" && complaints.push(m.text()));
  page.on("pageerror", (e) => complaints.push(String(e)));
});
after(async () => {
  await browser?.close();
  await segue?.stop();
});

const shot = (name) => page.screenshot({ path: join(shots, `${name}.png`) });

async function accessible(name) {
  // Through the debugger: the page's policy allows no foreign script.
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  const found = violations.map((v) => `${v.id} (${v.impact}): ${v.nodes.map((n) => n.target.join(" ")).join(", ")}`);
  assert.deepEqual(found, [], `axe on ${name}`);
}

const play = (title) => page.getByRole("row", { name: title }).getByRole("button", { name: title, exact: true }).click();

/** Opens the album page by the link a person would click. */
async function openAlbum() {
  await page.getByRole("link", { name: "Albums", exact: true }).first().click();
  await page.getByRole("link", { name: /Seams & Joins/ }).first().click();
  await page.getByRole("heading", { level: 1, name: "Seams & Joins" }).waitFor();
}

describe("the web player", { concurrency: false }, () => {
  it("signs in", async () => {
    await signIn(page, segue.url);
    assert.equal(await page.evaluate(() => crossOriginIsolated), true);
    // No token where another script of the page could find it later.
    const stored = await page.evaluate(() => JSON.stringify({ ...localStorage, ...sessionStorage }));
    assert.doesNotMatch(stored, /eyJ/);
    await shot("empty-1440");
    await accessible("the empty library");
  });

  it("stays signed in over a new page, by the cookie alone", async () => {
    await page.reload();
    await page.getByRole("heading", { level: 1, name: "Albums" }).waitFor();
  });

  it("uploads files and follows them until they can be played", async () => {
    await page.getByRole("link", { name: "Upload", exact: true }).first().click();
    await page.getByRole("heading", { level: 1, name: "Upload" }).waitFor();
    await page.locator('input[type="file"]').setInputFiles(music.files);
    await until(
      "three complete uploads",
      async () => {
        const states = await page.locator("[data-state]").evaluateAll((all) => all.map((x) => x.dataset.state));
        assert.ok(!states.includes("FAILED"), await page.locator("main").innerText());
        return states.filter((s) => s === "COMPLETE").length === 3;
      },
      180_000,
    );
    await shot("upload-1440");
    await accessible("uploads");
  });

  it("shows the album, its tags as text only", async () => {
    await openAlbum();
    assert.equal(await page.locator("main b").count(), 0);
    await page.getByText("The <b>Testers</b>").first().waitFor();
    assert.equal(await page.getByRole("grid").getAttribute("aria-rowcount"), "3");
    const cover = page.locator("main img").first();
    await until("the cover", () => cover.evaluate((i) => i.complete && i.naturalWidth > 0));
    await shot("album-1440");
    await accessible("the album");
  });

  it("plays over WebTransport, and what crosses is sealed", async () => {
    wire = await recordWire(page);
    await until("the session", async () => (await facts(page))?.webtransport);
    await play("First half");
    const f = await until("sound", async () => {
      const x = await facts(page);
      return x?.current?.heard > 44_100 && x;
    });
    clicked = f.current.playId;
    assert.equal(f.current.transport, "webtransport");
    assert.equal(f.decoder, "webcodecs");
    assert.equal(f.isolated, true);
    assert.equal(f.underruns, 0);
    console.log(`start ${f.current.startMs.toFixed(0)} ms, ${f.current.kbps} kbit/s, ${f.throughputKbps} kbit/s measured`);
    await shot("playing-1440");
    await accessible("the player");
  });

  it("joins the next track without losing or adding a sample", async () => {
    await until("the second track's end", async () => (await facts(page)).plays.filter((p) => p.finished).length >= 2, 60_000);
    const f = await facts(page);
    const [first, second] = f.plays;
    assert.deepEqual([first.total, second.total], music.samples.slice(0, 2));
    for (const p of [first, second]) {
      assert.deepEqual([p.written, p.heard, p.missing], [p.total, p.total, 0]);
    }
    assert.equal(second.prefetched, true);
    assert.equal(f.underruns, 0);
    const streams = (await wire()).map(frames);
    const records = streams.flat().filter(([type]) => type === 0x11);
    assert.ok(records.length > 60, `${records.length} records`);
    for (const [, payload] of records) assert.doesNotMatch(payload.toString("latin1"), /OggS|vorbis/);
  });

  it("seeks", async () => {
    await play("A long one");
    await until("sound", async () => (await facts(page)).current?.total === music.samples[2]);
    await page.getByRole("slider", { name: "Position" }).first().evaluate((s) => {
      s.value = "60000";
      s.dispatchEvent(new Event("input", { bubbles: true }));
      s.dispatchEvent(new Event("change", { bubbles: true }));
    });
    const f = await until("sound from a minute in", async () => {
      const x = await facts(page);
      return x.tick >= 60 * 44_100 && x.seekMs !== null && x;
    });
    assert.ok(f.tick < 63 * 44_100, `at ${f.tick / 44_100} s`);
    console.log(`seek ${f.seekMs.toFixed(0)} ms`);
  });

  it("changes the quality within the track", async () => {
    const before = await facts(page);
    const to = before.current.kbps === 160 ? 96 : 160;
    await page.getByLabel("Quality").first().selectOption(String(to));
    const f = await until(
      "the other quality",
      async () => {
        const x = await facts(page);
        return x.current.kbps === to && x;
      },
      15_000,
    );
    assert.equal(f.current.playId, before.current.playId);
    assert.equal(f.underruns, before.underruns);
  });

  it("obeys the keyboard", async () => {
    await page.getByRole("heading", { level: 1 }).focus();
    await page.keyboard.press("Space");
    await until("pause", async () => !(await facts(page)).playing);
    const at = (await facts(page)).tick;
    await page.keyboard.press("k");
    await until("more sound", async () => (await facts(page)).tick > at + 4_410);
    await page.keyboard.press("q");
    await page.getByRole("complementary", { name: "Queue" }).waitFor();
    await shot("queue-1440");
    await accessible("the queue");
    await page.keyboard.press("q");
    await page.keyboard.press("?");
    await page.getByRole("dialog").waitFor();
    await page.keyboard.press("Escape");
    await page.keyboard.press("g");
    await page.keyboard.press("r");
    await page.getByRole("heading", { level: 1, name: "Artists" }).waitFor();
    await accessible("artists");
    await page.goBack();
    await page.getByRole("heading", { level: 1, name: "Seams & Joins" }).waitFor();
  });

  it("plays a row by keyboard alone", async () => {
    const row = page.getByRole("row", { name: "First half" });
    await row.focus();
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Enter");
    await until("the second track", async () => (await facts(page)).current?.total === music.samples[1]);
  });

  it("keeps up with an impatient listener", async () => {
    const titles = ["First half", "A long one", "Second half"];
    for (let i = 0; i < 24; i++) await play(titles[i % 3]);
    await play("A long one");
    const seek = (ms) =>
      page.getByRole("slider", { name: "Position" }).first().evaluate((s, v) => {
        s.value = String(v);
        s.dispatchEvent(new Event("change", { bubbles: true }));
      }, ms);
    for (let i = 0; i < 12; i++) await seek((i * 31_000) % 80_000);
    await seek(40_000);
    const f = await until("sound from the last place asked for", async () => {
      const x = await facts(page);
      return x.current?.total === music.samples[2] && x.tick > 41 * 44_100 && x.tick < 50 * 44_100 && x;
    });
    assert.equal(f.error, null);
    assert.equal(f.playing, true);
  });

  it("plays over the fallback", async () => {
    await page.getByRole("link", { name: "Settings", exact: true }).first().click();
    await page.getByLabel("HTTP only").check();
    await accessible("settings");
    await shot("settings-1440");
    await openAlbum();
    const before = (await facts(page)).plays.length;
    await play("First half");
    const f = await until("sound", async () => {
      const x = await facts(page);
      return x.current?.total === music.samples[0] && x.current.transport === "fetch" && x.current.heard > 44_100 && x;
    });
    console.log(`start over HTTP ${f.current.startMs.toFixed(0)} ms`);
    await until("its end", async () => (await facts(page)).plays.slice(before).some((p) => p.transport === "fetch" && p.finished));
    const done = (await facts(page)).plays.slice(before).find((p) => p.transport === "fetch");
    assert.deepEqual([done.written, done.heard, done.missing], [done.total, done.total, 0]);
  });

  it("decodes without WebCodecs", async () => {
    await page.goto(`${page.url()}?decoder=wasm`);
    await page.getByRole("heading", { level: 1, name: "Seams & Joins" }).waitFor();
    await until("the decoder", async () => (await facts(page))?.decoder === "wasm");
    await play("Second half");
    await until("its end", async () => (await facts(page)).plays.some((p) => p.finished), 60_000);
    const [p] = (await facts(page)).plays;
    assert.deepEqual([p.total, p.written, p.heard, p.missing], [music.samples[1], p.total, p.total, 0]);
  });

  it("plays 24 kbit/s at the output's rate, and without shared memory", async () => {
    const bare = await browser.newContext({ viewport: desktop });
    const other = await bare.newPage();
    await signIn(other, segue.url);
    // The page itself without what isolates it.
    await other.route(`${segue.url}/album/*`, async (route) => {
      const response = await route.fetch();
      const headers = response.headers();
      delete headers["cross-origin-opener-policy"];
      delete headers["cross-origin-embedder-policy"];
      await route.fulfill({ response, headers });
    });
    const href = await other.getByRole("link", { name: /Seams & Joins/ }).first().getAttribute("href");
    await other.goto(segue.url + href);
    await other.getByRole("heading", { level: 1, name: "Seams & Joins" }).waitFor();
    await other.getByLabel("Quality").first().selectOption("24");
    await other.getByRole("row", { name: "First half" }).getByRole("button", { name: "First half", exact: true }).click();
    const f = await until("its end", async () => {
      const x = await facts(other);
      return x?.plays.some((p) => p.finished) && x;
    });
    const [p] = f.plays;
    assert.equal(f.isolated, false);
    assert.equal(p.kbps, 24);
    assert.ok(Math.abs(p.total - music.samples[0]) <= 2, `${p.total} ticks`);
    assert.deepEqual([p.written, p.heard, p.missing, f.underruns], [p.total, p.total, 0, 0]);
    await bare.close();
  });

  it("tells the server every act, and keeps none", async () => {
    await page.evaluate(() => globalThis.__segue.flushEvents());
    await until("an empty spool", async () => (await facts(page)).eventsWaiting === 0);
  });

  it("names a click's trace by its play id, in requests and events", () => {
    const trace = traceOf(clicked);
    const events = segue
      .ctl("audit", "--trace", clicked, "--json")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    for (const e of events) assert.equal(e.traceId, trace);
    const types = new Set(events.map((e) => e.type));
    for (const want of ["PlaybackStarted", "PlaybackEnded", "StreamServed"]) assert.ok(types.has(want), `no ${want} in ${[...types]}`);
    const started = events.find((e) => e.type === "PlaybackStarted");
    assert.deepEqual([started.payload.playId, started.payload.reason], [clicked, "click"]);
    // What the click told the server beside the stream is of the same trace.
    assert.match(segue.log(), new RegExp(`PlayerService/UpdatePlayer.* trace_id=${trace}`));
  });

  it("stops when another device takes over", async () => {
    await play("A long one");
    await until("sound", async () => (await facts(page)).current?.heard > 22_050);
    const other = await browser.newContext({ viewport: phone, colorScheme: "light", isMobile: true, hasTouch: true });
    const second = await other.newPage();
    await signIn(second, segue.url);
    await second.getByRole("link", { name: /Seams & Joins/ }).first().tap();
    await second.getByRole("row", { name: "First half" }).getByRole("button", { name: "First half", exact: true }).tap();
    await until("silence here", async () => !(await facts(page)).playing, 15_000);
    await until("sound there", async () => (await facts(second)).current?.heard > 22_050);

    const here = page;
    page = second;
    await shot("album-390");
    await accessible("the album on a phone");
    assert.ok(await second.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "no sideways scroll");
    await second.getByRole("button", { name: /^Now playing/ }).tap();
    await second.getByRole("dialog").waitFor();
    await second.waitForTimeout(400);
    await shot("sheet-390");
    await accessible("now playing on a phone");
    await second.getByRole("button", { name: "Close" }).tap();
    await second.getByRole("link", { name: "Albums", exact: true }).last().tap();
    await second.getByRole("heading", { level: 1, name: "Albums" }).waitFor();
    await shot("albums-390");
    await second.getByRole("link", { name: "Songs", exact: true }).last().tap();
    await second.getByRole("heading", { level: 1, name: "Songs" }).waitFor();
    await second.getByRole("row", { name: "A long one" }).waitFor();
    await shot("songs-390");
    await accessible("songs on a phone");
    page = here;

    // And back: the first device asks again, and the second falls silent.
    await page.getByRole("button", { name: "Play", exact: true }).first().click();
    const was = (await facts(page)).current.heard;
    await until("sound here again", async () => (await facts(page)).current.heard > was + 12 * 44_100, 90_000);
    assert.equal((await facts(second)).playing, false);
    assert.equal((await facts(page)).error, null);
    await other.close();
  });

  it("signs out", async () => {
    await page.getByRole("link", { name: "Settings", exact: true }).first().click();
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByRole("button", { name: "Sign in" }).waitFor();
    await page.reload();
    await page.getByRole("button", { name: "Sign in" }).waitFor();
    await shot("welcome-1440");
    await accessible("the way in");
  });

  it("complained of nothing", () => {
    // A refresh without a cookie is how a visitor learns that nobody is signed in.
    const real = complaints.filter((c) => !/status of 40[01]/.test(c));
    assert.deepEqual(real, []);
  });
});
