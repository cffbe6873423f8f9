#!/usr/bin/env bash
# Builds the segue of the last release, whose contracts proto/released.binpb are, once, and
# prints the folder: segue and the cluster.yaml that it shipped with. Programs of two
# releases run side by side while a cluster is brought forward (make test-skew).
# Argument: the cache folder.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${1:?usage: released.sh CACHE}
fail() { echo "released.sh: $*" >&2; exit 1; }

git rev-parse --git-dir >/dev/null 2>&1 || fail "the last release is built from the history of git, and here is none"
[ -z "$(git status --porcelain -- proto/released.binpb)" ] || fail "proto/released.binpb is not committed: which program speaks it is not known"
commit=$(git log -1 --format=%H -- proto/released.binpb)
[ -n "$commit" ] || fail "no commit has made proto/released.binpb"
# In a shallow clone the oldest commit seems to have made every file.
if [ "$(git rev-parse --is-shallow-repository)" = true ] && grep -qx "$commit" "$(git rev-parse --git-path shallow)"; then
  fail "the history does not reach back to the last release: git fetch --unshallow"
fi

dir="$cache/released/$commit-1" # the last number is this script's
if [ ! -d "$dir" ]; then
  echo "Building the last release, ${commit:0:12}" >&2
  mkdir -p "$cache/released"
  work=$(mktemp -d "$cache/released/.work.XXXXXX") # beside its destination, so that a move is atomic
  trap 'rm -rf "$work"' EXIT
  mkdir "$work/tree" "$work/done"
  git archive "$commit" | tar -x -C "$work/tree"
  # Without the pages of the player, which no scenario opens.
  (cd "$work/tree" && CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${commit:0:12}" -o "$work/done/segue" ./cmd/segue) >&2
  cp "$work/tree/deploy/config/cluster.yaml" "$work/done/"
  mv -nT "$work/done" "$dir" || [ -d "$dir" ]
fi
echo "$dir"
