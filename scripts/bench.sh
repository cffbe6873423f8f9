#!/usr/bin/env bash
# Measures the built segue beside its peers and prints Markdown: bench.sh [WHAT] [ARGUMENTS].
#   start    start, seek and next track on a shaped link, beside HTTP and HLS (the default)
#   matrix   the same on seven links
#   choices  how often a scripted listener finds the head of a track fetched ahead
#   log      the event log, beside SQLite and JetStream
#   load     what a thousand listeners cost the server
#   events   events of apps through the gateway and Kafka to a consumer
#   edge     ranges of sealed objects over HTTPS, beside nginx
#   catalogue  the catalogue in Cassandra beside SQLite; SEGUE_BENCH_TRACKS is its size, above 20000 loaded in bulk
#   ingest   files to music: scan, CPU, memory, restart, the click on a track that waits
# Arguments go to the program; with -h it tells them. The first three need root, for the link.
set -euo pipefail
cd "$(dirname "$0")/.."

what=start
case "${1:-}" in
  start | matrix | choices | log | load | events | edge | catalogue | ingest) what=$1 && shift ;;
  "" | -*) ;;
  *) sed -n '2,12s/^# //p' "$0" >&2 && exit 2 ;;
esac
case "$what" in
  log) exec scripts/logbench.sh "$@" ;;
  load) exec scripts/load.sh "$@" ;;
  events) exec scripts/eventbench.sh "$@" ;;
  catalogue)
    cache="${XDG_CACHE_HOME:-$HOME/.cache}/segue"
    scripts/engines.sh "$cache" >&2
    SEGUE_TEST_ENGINES="$cache/engines" exec go test -count=1 -v -tags engines -timeout 6h -run '^$' -bench '^BenchmarkCatalogue$' -benchtime 2000x "$@" ./services/metadata/cassandra
    ;;
  edge) exec scripts/edgebench.sh "$@" ;;
  ingest) exec scripts/ingestbench.sh "$@" ;;
  matrix) set -- -matrix -n=10 "$@" ;;
  choices) set -- -choices=500 -tracks=16 -peers=false -only="scripted" "$@" ;;
esac

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
"${as_root[@]}" "$work/bench" -music="$music" "$@"
