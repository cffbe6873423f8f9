import { readdirSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vitest/config";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

const alias = {
  // The package's public class parses Ogg itself; the player already has packets, and
  // takes the decoder beneath it. The parser is then never used: keep it out of the bundle.
  "segue-vorbis-wasm": here("node_modules/@wasm-audio-decoders/ogg-vorbis/src/OggVorbisDecoder.js"),
  "codec-parser": here("src/engine/no-parser.ts"),
  $lib: here("src"),
};

const shell = /\/node_modules\/(?:svelte|@connectrpc|@bufbuild|clsx|esm-env)\/|\/src\/(?:api\/clients|auth|player|gen\/segue\/(?:collect|event|metadata|playback|auth)|ui\/(?:Icon|IconButton|PlayButton|Slider|Cover|ErrorState|EmptyState|AlbumCard|AlbumGrid|load)|app\/(?!Sheet|Help)|app\.css|engine|routes\/Albums)/;
const inShell = (id: string) => shell.test(id);

/** Empties dist, but for the .keep that lets the Go package compile before a build. */
const emptyDist = {
  name: "empty-dist",
  apply: "build" as const,
  buildStart() {
    for (const name of readdirSync(here("dist"))) {
      if (name !== ".keep") rmSync(here(`dist/${name}`), { recursive: true });
    }
  },
};

export default defineConfig({
  plugins: [svelte(), emptyDist],
  resolve: { alias },
  worker: { format: "es" },
  build: {
    target: "es2022",
    outDir: "dist",
    emptyOutDir: false, // emptyDist does it
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    cssCodeSplit: true,
    reportCompressedSize: false,
    rolldownOptions: {
      output: {
        codeSplitting: {
          // What the first page needs comes in one piece: each file more is a request before the first paint.
          groups: [{ name: "shell", test: inShell, includeDependenciesRecursively: false }],
        },
      },
    },
  },
  server: {
    headers: {
      "Cross-Origin-Opener-Policy": "same-origin",
      "Cross-Origin-Embedder-Policy": "require-corp",
    },
  },
  test: {
    include: ["tests/**/*.test.ts"],
    environment: "node",
  },
});
