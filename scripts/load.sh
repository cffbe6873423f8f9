#!/usr/bin/env bash
# Measures what listeners cost the built segue and prints Markdown. Arguments, and those
# in LOAD, go to the program: scripts/load.sh -listeners=1000 -minutes=10 -transport=both.
# Without any: 100 listeners, one minute, over QUIC. Writes nothing but what it prints
# and a cache of encoded music.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -x bin/segue ] || { echo "load: bin/segue is not built: make build" >&2; exit 1; }

music="${XDG_CACHE_HOME:-$HOME/.cache}/segue/music"
[ -f "$music/.complete" ] || music=""
# A socket for each connection, on both sides.
ulimit -n "$(ulimit -Hn)" 2>/dev/null || true
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
go build -o "$work/load" ./test/load
# Words of LOAD are arguments of their own.
# shellcheck disable=SC2086
"$work/load" -music="$music" ${LOAD:-} "$@"
