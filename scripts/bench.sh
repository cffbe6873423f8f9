#!/usr/bin/env bash
# Measures the built segue beside HTTP and HLS on a shaped link and prints Markdown.
# Arguments, and those in BENCH, go to the program: make bench BENCH="-rtt=100ms -n=10".
# Needs root, for the link; writes nothing but what it prints.
set -euo pipefail
cd "$(dirname "$0")/.."

as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo --preserve-env=PATH)
if ! command -v ip >/dev/null && [ ! -x /usr/sbin/ip ]; then
  "${as_root[@]}" apt-get update -qq >&2
  DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends iproute2 >&2
fi
export PATH="$PATH:/usr/sbin"

music="${XDG_CACHE_HOME:-$HOME/.cache}/segue/music"
[ -f "$music/.complete" ] || music=""
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
go build -o "$work/bench" ./test/bench
# Words of BENCH are arguments of their own.
# shellcheck disable=SC2086
"${as_root[@]}" "$work/bench" -music="$music" ${BENCH:-} "$@"
