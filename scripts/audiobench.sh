#!/usr/bin/env bash
# Measures what Segue finds out about sound and prints Markdown: audiobench.sh [FLAGS] [codes] [recall] [speeds] [speed]
# [scale], all five without a name. Music is that of MUSIC, or the demo catalogue. scale writes up to 8 GB to the disk of this folder, and
# removes them.
set -euo pipefail
cd "$(dirname "$0")/.."

music=${MUSIC:-}
[ -n "$music" ] || music=$(scripts/demo.sh "${XDG_CACHE_HOME:-$HOME/.cache}/segue")
bin=$(mktemp)
trap 'rm -f "$bin"' EXIT
CGO_ENABLED=0 go build -o "$bin" ./test/audiobench
"$bin" -music="$music" "$@"
