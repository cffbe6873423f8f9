// Leaves .br and .gz beside every text file of dist: the gateway sends them as they are.
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

const dist = fileURLToPath(new URL("../dist/", import.meta.url));
const text = /\.(?:html|js|css|svg|webmanifest|wasm)$/;

for (const name of readdirSync(dist, { recursive: true })) {
  if (!text.test(name)) continue;
  const body = readFileSync(dist + name);
  const br = brotliCompressSync(body, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } });
  writeFileSync(`${dist}${name}.br`, br);
  writeFileSync(`${dist}${name}.gz`, gzipSync(body, { level: 9 }));
}
