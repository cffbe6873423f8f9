#!/usr/bin/env bash
# Builds the web player when its sources are newer than what was built. With "gen" it
# generates the TypeScript contracts instead.
set -euo pipefail
cd "$(dirname "$0")/../web"

if [ ! -d node_modules ] || [ package.json -nt node_modules/.installed ]; then
  npm install --no-package-lock --no-audit --no-fund --loglevel=error
  touch node_modules/.installed
fi
if [ "${1:-}" = gen ]; then
  npm run --silent gen
  exit 0
fi
if [ -f dist/index.html ] && [ -z "$(find . -path ./node_modules -prune -o -path ./dist -prune -o -type f -newer dist/index.html -print -quit)" ]; then
  exit 0
fi
npm run --silent build
touch dist/index.html
