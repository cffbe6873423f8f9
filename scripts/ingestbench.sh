#!/bin/sh
# Measures what taking music in costs: CPU of an ingest beside bare ffmpeg, CPU to list
# 20,000 files, restart, memory at rest, and the wait of who clicks on a track that is not
# prepared. Prints rows of Markdown. INGESTBENCH has more arguments of test/ingestbench,
# ROUNDS is how often the ingest and its peers take turns.
set -eu
cd "$(dirname "$0")/.."
CGO_ENABLED=0
export CGO_ENABLED
go build -trimpath -ldflags "-s -w" -o bin/ ./cmd/segue

echo "## Ingest of three minutes of FLAC into four renditions, CPU with all children"
echo
echo "| what | goal | CPU s | times the bare command |"
echo "|---|--:|--:|--:|"
go test -run '^$' -bench '^BenchmarkIngest$' -benchtime "${ROUNDS:-5}x" -timeout 30m ./services/upload | awk '
	/^BenchmarkIngest/ { for (i = 3; i < NF; i += 2) v[$(i+1)] = $i }
	/^(FAIL|panic)/ { failed = 1 }
	function line(what, goal, name) {
		printf "| %s | %s | %s | %s |\n", what, goal, v[name "-cpu-s/op"], name == "bare" ? "1" : v[name "/bare"]
	}
	END {
		if (failed || !("bare-cpu-s/op" in v)) { print "the benchmark has failed" > "/dev/stderr"; exit 1 }
		line("one bare ffmpeg, one input, four outputs", "", "bare")
		line("four bare ffmpeg, one output each", "", "apart")
		line("bare, and ebur128, and fpcalc", "", "measured")
		line("Segue: encode only, in the sandbox", "", "encode")
		line("Segue: the whole ingest (loudness, fingerprint, hashes, sealing, stores)", "1.10", "ingest")
	}'
echo
echo "## The built program"
echo
# shellcheck disable=SC2086 # several arguments
go run ./test/ingestbench ${INGESTBENCH:-}
