#!/usr/bin/env bash
# Builds the segue of the last release, whose contracts proto/released.binpb are, and prints
# where it is: released.sh CACHE. Programs of two releases run side by side while a cluster
# is brought forward. Where the history does not reach back to it, it is this one.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${1:?usage: released.sh CACHE}

commit=$(git log -1 --format=%H -- proto/released.binpb)
bin="$cache/released/$commit/segue"
if [ ! -x "$bin" ]; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  mkdir "$work/tree"
  git archive "$commit" | tar -x -C "$work/tree"
  # Its pages are not what is tried.
  [ ! -d web/dist ] || { rm -rf "$work/tree/web/dist" && cp -r web/dist "$work/tree/web/dist"; }
  (cd "$work/tree" && CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${commit:0:12}" -o "$work/segue" ./cmd/segue) >&2
  mkdir -p "$(dirname "$bin")"
  mv "$work/segue" "$bin.$$" && mv "$bin.$$" "$bin"
fi
echo "$bin"
