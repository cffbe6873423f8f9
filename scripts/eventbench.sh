#!/usr/bin/env bash
# Measures the way of events from apps through the built segue and a Kafka of its own to a
# consumer, and prints Markdown. Arguments go to the program; -h tells them.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -x bin/segue ] || { echo "eventbench: bin/segue is not built: make build" >&2; exit 1; }

cache="${XDG_CACHE_HOME:-$HOME/.cache}/segue"
scripts/engines.sh "$cache" >&2
work=$(mktemp -d)
go build -o "$work/" ./test/engines ./test/eventbench
trap '"$work/engines" stop -dir="$work/kafka" >&2 || true; rm -rf "$work"' EXIT
eval "$("$work/engines" start -dir="$work/kafka" -programs="$cache/engines" -only=kafka)"
"$work/eventbench" -kafka="$ENGINE_KAFKA_SEEDS" "$@"
