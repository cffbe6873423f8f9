// Drives the web player in Chromium and prints, as JSON, what the player itself measured.
import { createRequire } from "node:module";
import { join } from "node:path";

const told = JSON.parse(process.argv[2]);
const { chromium } = createRequire(join(told.web, "package.json"))("playwright-core");

const browser = await chromium.launch({
  executablePath: told.chromium,
  ignoreDefaultArgs: ["--disable-quic"],
  args: ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"],
});
const context = await browser.newContext({ ignoreHTTPSErrors: true, viewport: { width: 1280, height: 1200 } });
// The player tells people what went wrong in their words; here the cause is wanted too.
await context.addInitScript(() => {
  localStorage.setItem("segue.quality", "160"); // as in all other cases
  const { Worker } = globalThis;
  globalThis.Worker = class extends Worker {
    constructor(...args) {
      super(...args);
      this.addEventListener("message", ({ data }) => data.t === "failed" && (globalThis.__failed = data));
    }
  };
});
const page = await context.newPage();
browser.on("disconnected", () => say("Chromium has ended"));
page.on("crash", () => say("the page has crashed"));
page.on("pageerror", (e) => console.error("page:", e.message));
const say = (text) => console.error("bench:", text);
const facts = () => page.evaluate(() => globalThis.__segue);
const until = (what, f, arg) =>
  page.waitForFunction(f, arg, { polling: 20, timeout: 20_000 }).catch(async (e) => {
    throw new Error(`${what}: ${e.message}; ${JSON.stringify(await page.evaluate(() => [globalThis.__segue, globalThis.__failed]))}`);
  });
const pause = (ms) => page.waitForTimeout(ms);
const any = (n) => Math.floor(Math.random() * n);

async function signIn() {
  await page.goto(told.url + "/settings");
  const name = page.locator("#username");
  const enter = page.getByRole("button", { name: /sign in/i }).or(page.getByRole("link", { name: /sign in/i }));
  await name.or(enter).first().waitFor();
  if (!(await name.isVisible())) await enter.first().click();
  await name.fill("admin");
  await page.locator("#password").fill(told.password);
  await page.locator("form button[type=submit]").click();
  await page.waitForURL((u) => !u.pathname.startsWith("/login") && !u.pathname.startsWith("/callback"));
}

/** Opens the album whose tracks have sound, and waits for its rows. */
async function album() {
  await page.goto(`${told.url}/album/${told.album}`);
  await page.locator("[data-row] button.title").first().waitFor();
  await until("session", () => globalThis.__segue?.webtransport === true);
}

/** Clicks what the function finds, without a pointer that hovers, and gives what the player measured. */
async function started(click, arg) {
  const before = (await facts())?.current?.play ?? 0;
  await page.evaluate(click, arg);
  await until("start", (p) => (globalThis.__segue?.current?.play ?? 0) > p && globalThis.__segue.current.written > 0, before);
  await pause(400);
  return (await facts()).current;
}

const rowButton = (i) => document.querySelector(`[data-row="${i}"] button.title`).click();
const count = () => page.locator("[data-row] button.title").count();

/** A row that is neither the current one nor among those whose heads are fetched ahead. */
async function farRow(last) {
  const n = await count();
  return (last + n - 1 - any(Math.max(1, n - 5))) % n;
}

/** A sequence of numbers that is the same in every run. */
function seeded(seed) {
  let s = seed;
  return () => {
    s = (s * 1664525 + 1013904223) % 2 ** 32;
    return s / 2 ** 32;
  };
}

/**
 * Plays what a listener might, from a script that is the same in every run: mostly the next
 * track, often a row that the pointer rests on first, now and then one that nothing announced.
 */
async function choices() {
  const random = seeded(4);
  const before = (await facts()).heads;
  const bytes = (await facts()).bytes;
  const first = { next: 0, pointed: 0, unannounced: 0, queued: 0 };
  const hits = { ...first };
  const made = { ...first };
  const times = { hit: [], miss: [] };
  const started0 = await facts();
  for (let i = 0; i < told.choices; i++) {
    await pause(800 + 1200 * random());
    const kind = ["next", "pointed", "unannounced", "queued"][[0.55, 0.82, 0.92, 1].findIndex((p) => random() < p || p === 1)];
    const current = Number(await page.evaluate(() => document.querySelector("[data-row].current")?.dataset.row ?? -1));
    const rows = Math.min(12, await count());
    let row = Math.floor(random() * rows);
    if (row === current) row = (row + 1) % rows;
    let f;
    if ((kind === "next" || kind === "queued") && current >= (await count()) - 6) {
      await started(rowButton, 0); // towards the end of the album there is too little to go on to
      await pause(1500);
    }
    if (kind === "next") {
      f = await started(() => [...document.querySelectorAll("button")].find((b) => b.ariaLabel === "Next").click());
    } else if (kind === "queued") {
      f = await started((ahead) => {
        const at = document.querySelector("li[data-at]");
        const to = at && document.querySelector(`li[data-at="${Number(at.dataset.at) + ahead}"] .title`);
        (to ?? [...document.querySelectorAll("button")].find((b) => b.ariaLabel === "Next")).click();
      }, 1 + Math.floor(random() * 4));
    } else {
      const target = page.locator(`[data-row="${row}"]`);
      await target.scrollIntoViewIfNeeded();
      if (kind === "pointed") {
        // On the way the pointer crosses rows that are not wanted.
        await page.locator(`[data-row="${Math.floor(random() * rows)}"]`).hover();
        await pause(40 + 200 * random());
        await target.hover();
        await pause(150 + 450 * random());
      }
      f = await started(rowButton, row);
    }
    made[kind]++;
    if (f.prefetched) hits[kind]++;
    times[f.prefetched ? "hit" : "miss"].push(f.startMs);
    if (i % 50 === 49) say(`${i + 1} choices`);
  }
  await page.mouse.move(5, 5);
  const { heads, bytes: all, underruns } = await facts();
  const sum = (o) => Object.values(o).reduce((a, b) => a + b, 0);
  const wasted = heads.wasted - before.wasted;
  out.push({
    name: told.scripted,
    millis: [...times.hit, ...times.miss],
    note:
      `${sum(hits)} of ${sum(made)} found their head (` +
      Object.keys(made).map((k) => `${k} ${hits[k]}/${made[k]}`).join(", ") +
      `); ${heads.asked - before.asked} heads fetched, ${(wasted / 1e6).toFixed(1)} of ${((all - bytes) / 1e6).toFixed(1)} MB wasted on those never played; ` +
      `${underruns - started0.underruns} underruns`,
    failed: "",
  });
  out.push({ name: told.scriptedHit, millis: times.hit, note: "", failed: "" });
}

const out = [];

/** Measures a case. One that fails keeps what it has, and the others are measured all the same. */
async function measure(name, one) {
  if ((told.cases?.length && !told.cases.includes(name)) || !name.includes(told.only)) return;
  say(name);
  const millis = [];
  const said = {};
  let failed = "";
  try {
    for (let tries = 0; millis.length < told.n; tries++) {
      if (tries > 3 * told.n) throw new Error("too few starts counted");
      const { ms, note, skip } = await one();
      said[note] = (said[note] ?? 0) + 1;
      if (!skip) millis.push(ms);
    }
  } catch (e) {
    failed = `${name}: ${e.message}`;
  }
  const note = Object.entries(said).map(([what, n]) => `${n}: ${what}`);
  if (failed) note.push(`failed after ${millis.length}`);
  out.push({ name, millis, note: note.join("; "), failed });
}

try {
  await signIn();
  await album();
  let last = 0;
  await started(rowButton, 0);
  await measure(told.open, async () => {
    await pause(1500);
    last = await farRow(last);
    const f = await started(rowButton, last);
    return { ms: f.startMs, note: `${f.transport}${f.prefetched ? ", prefetched (left out)" : ""}`, skip: f.prefetched };
  });
  await measure(told.head, async () => {
    await pause(1500);
    last = await farRow(last);
    await page.locator(`[data-row="${last}"]`).hover();
    await pause(600);
    const f = await started(rowButton, last);
    return { ms: f.startMs, note: f.prefetched ? "prefetched" : "not prefetched" };
  });
  await measure(told.next, async () => {
    const n = await count();
    last = (last + 1 + any(n - 3)) % (n - 1); // never the last, behind which nothing comes
    await started(rowButton, last);
    await pause(1500);
    const f = await started((name) => [...document.querySelectorAll("button")].find((b) => b.ariaLabel === name).click(), "Next");
    return { ms: f.startMs, note: f.prefetched ? "prefetched" : "not prefetched" };
  });
  if (told.choices > 0) await choices();
  await measure(told.seek, async () => {
    const slider = page.getByRole("slider", { name: "Position" }).first();
    await page.mouse.move(5, 5);
    last = await farRow(last);
    await started(rowButton, last);
    await pause(1000);
    const before = (await facts()).seekMs;
    const box = await slider.boundingBox();
    await page.mouse.click(box.x + box.width * (0.5 + 0.4 * Math.random()), box.y + box.height / 2);
    await until("seek", (b) => globalThis.__segue.seekMs !== null && globalThis.__segue.seekMs !== b, before);
    return { ms: (await facts()).seekMs, note: (await facts()).current.transport };
  });
  // The choice of transport makes a new session, in the same turn as the click.
  await measure(told.new, async () => {
    if (!page.url().includes(told.album)) await page.goBack();
    await page.locator("[data-row] button.title").first().waitFor();
    // A click on the current row would pause it.
    const row = any(3);
    await started(rowButton, row === last ? (row + 1) % 3 : row);
    last = -1;
    await page.locator('a[href="/settings"]').first().click();
    await page.locator("input[name=transport]").first().waitFor();
    const queue = page.getByRole("button", { name: "Queue", exact: true }).first();
    if ((await queue.getAttribute("aria-expanded")) !== "true") await queue.click();
    await pause(1000);
    await page.locator("li[data-at]").nth(4).waitFor();
    const f = await started(() => {
      // Behind the tracks whose heads are fetched ahead.
      const at = Number(document.querySelector("li[data-at]").dataset.at) + 4;
      const [auto, , fetch] = document.querySelectorAll("input[name=transport]");
      fetch.click();
      auto.click();
      document.querySelector(`li[data-at="${at}"] .title`).click();
    });
    return { ms: f.startMs, note: `${f.transport}${f.prefetched ? ", prefetched (left out)" : ""}`, skip: f.prefetched };
  });
} finally {
  console.log(JSON.stringify(out));
  await browser.close();
}
