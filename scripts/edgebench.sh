#!/usr/bin/env bash
# Measures what sealed objects cost the built segue over HTTPS, beside nginx with
# deploy/nginx.conf, and prints Markdown. Arguments go to the program: -h tells them;
# -profile=FILE keeps where segue's time goes instead.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -x bin/segue ] || { echo "edgebench: bin/segue is not built: make build" >&2; exit 1; }
scripts/nginx.sh >/dev/null

music="${XDG_CACHE_HOME:-$HOME/.cache}/segue/music"
[ -f "$music/.complete" ] || music=""
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
go build -o "$work/edgebench" ./test/edgebench
"$work/edgebench" -music="$music" "$@"
