#!/usr/bin/env bash
# Measures the event log beside SQLite and JetStream on the disk of this folder and prints
# Markdown. Arguments, and those in BENCH, go to the program: scripts/logbench.sh -rounds=9.
set -euo pipefail
cd "$(dirname "$0")/.."

bin=$(mktemp)
trap 'rm -f "$bin"' EXIT
CGO_ENABLED=0 go build -o "$bin" ./test/logbench
# Words of BENCH are arguments of their own.
# shellcheck disable=SC2086
"$bin" ${BENCH:-} "$@"
