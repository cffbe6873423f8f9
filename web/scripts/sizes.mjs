// What the first page costs on the wire, against the budget; fails the build above it.
import { readFileSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const budget = { js: 90_000, css: 15_000, route: 25_000 };
const dist = fileURLToPath(new URL("../dist/", import.meta.url));
const size = (file) => gzipSync(readFileSync(dist + file), { level: 9 }).length;

const html = readFileSync(`${dist}index.html`, "utf8");
const named = [...html.matchAll(/(?:src|href)="\/(assets\/[^"]+)"/g)].map((m) => m[1]);
const assets = readdirSync(`${dist}assets`).map((f) => `assets/${f}`);
// The worker and its worklet belong to the first load: the session opens with the page.
const first = new Set([...named, ...assets.filter((f) => /\/(worker|ring\.worklet)-/.test(f))]);

const total = (ext) => [...first].filter((f) => f.endsWith(ext)).reduce((n, f) => n + size(f), 0);
const js = total(".js");
const css = total(".css");
const kB = (n) => `${(n / 1000).toFixed(1)} kB`;

for (const f of assets.filter((f) => /\.(js|css)$/.test(f))) {
  console.log(`${first.has(f) ? "first" : "later"}  ${kB(size(f)).padStart(9)}  ${f}`);
}
console.log(`first load: ${kB(js)} of ${kB(budget.js)} JS, ${kB(css)} of ${kB(budget.css)} CSS (gzip)`);
// The WASM decoder only comes where the browser has none of its own.
const heavy = assets.filter((f) => f.endsWith(".js") && !first.has(f) && !/OggVorbisDecoder/.test(f) && size(f) > budget.route);
if (js > budget.js || css > budget.css || heavy.length > 0) {
  console.error(`over the budget: ${heavy.join(", ") || "first load"}`);
  process.exit(1);
}
