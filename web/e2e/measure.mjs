// Figures of the player against a local server, without a network between: prints medians, asserts nothing.
// npm run measure
import { facts, makeMusic, signIn, startBrowser, startSegue, until } from "./harness.mjs";

const rounds = 20;
const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];
const show = (name, list) =>
  console.log(`${name}: median ${median(list).toFixed(0)}, best ${Math.min(...list).toFixed(0)}, worst ${Math.max(...list).toFixed(0)} (${list.length})`);

const segue = await startSegue();
const browser = await startBrowser();
try {
  const music = makeMusic(segue.dir);
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
  const page = await context.newPage();
  await signIn(page, segue.url);
  await page.getByRole("link", { name: "Upload", exact: true }).first().click();
  await page.locator('input[type="file"]').setInputFiles(music.files);
  await until("uploads", async () => (await page.locator('[data-state="COMPLETE"]').count()) === 3, 180_000);

  await firstLoad(context);
  await page.getByRole("link", { name: "Albums", exact: true }).first().click();
  await page.getByRole("link", { name: /Seams & Joins/ }).first().click();
  await starts(page);
} finally {
  await browser.close();
  await segue.stop();
}

/** Painting and requests of the home page, cold, on a processor four times slower. */
async function firstLoad(context) {
  const found = { fcp: [], lcp: [], cls: [], usable: [], requests: [], longest: [] };
  for (let i = 0; i < 5; i++) {
    const page = await context.newPage();
    const cdp = await context.newCDPSession(page);
    await cdp.send("Network.setCacheDisabled", { cacheDisabled: true });
    await cdp.send("Emulation.setCPUThrottlingRate", { rate: 4 });
    let requests = 0;
    page.on("request", () => requests++);
    await page.addInitScript(() => {
      globalThis.__seen = { lcp: 0, cls: 0, longest: 0 };
      new PerformanceObserver((l) => l.getEntries().forEach((e) => (globalThis.__seen.lcp = e.startTime))).observe({ type: "largest-contentful-paint", buffered: true });
      new PerformanceObserver((l) => l.getEntries().forEach((e) => (globalThis.__seen.cls += e.value))).observe({ type: "layout-shift", buffered: true });
      new PerformanceObserver((l) => l.getEntries().forEach((e) => (globalThis.__seen.longest = Math.max(globalThis.__seen.longest, e.duration)))).observe({ type: "longtask", buffered: true });
    });
    await page.goto(segue.url, { waitUntil: "commit" });
    const usable = await page.waitForFunction(() => document.querySelector("main a[href^='/album/']") && performance.now());
    found.usable.push(await usable.jsonValue());
    found.requests.push(requests);
    await page.waitForTimeout(1500);
    const seen = await page.evaluate(() => ({ ...globalThis.__seen, fcp: performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? 0 }));
    found.fcp.push(seen.fcp);
    found.lcp.push(seen.lcp);
    found.cls.push(seen.cls * 1000);
    found.longest.push(seen.longest);
    await page.close();
  }
  show("first contentful paint, ms at 4x", found.fcp);
  show("largest contentful paint, ms at 4x", found.lcp);
  show("usable, ms at 4x", found.usable);
  show("longest task, ms at 4x", found.longest);
  show("layout shift, thousandths", found.cls);
  show("requests until usable", found.requests);
}

/** Click to first samples in the ring. */
async function starts(page) {
  const row = (title) => page.getByRole("row", { name: title }).getByRole("button", { name: title, exact: true });
  await until("the session", async () => (await facts(page))?.webtransport);
  const began = [];
  const titles = ["First half", "A long one"];
  let last = "";
  for (let i = 0; i < rounds; i++) {
    await row(titles[i % 2]).click();
    const f = await until("sound", async () => {
      const x = await facts(page);
      return x?.current && x.current.playId !== last && x.current.heard > 4410 && x.current;
    });
    last = f.playId;
    began.push(f.startMs);
  }
  show("start on an open session, ms", began);
  const sought = [];
  await until("the long one", async () => (await facts(page)).current.total === 90 * 44_100);
  for (let i = 0; i < rounds; i++) {
    const to = i % 2 ? 5_000 + i * 500 : 50_000 + i * 500;
    await page.getByRole("slider", { name: "Position" }).first().evaluate((s, v) => {
      s.value = String(v);
      s.dispatchEvent(new Event("change", { bubbles: true }));
    }, to);
    const f = await until("sound", async () => {
      const x = await facts(page);
      return Math.abs(x.tick - to * 44.1) < 44_100 && x;
    });
    sought.push(f.seekMs);
  }
  show("seek, ms", sought);
}
