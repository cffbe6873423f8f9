#!/usr/bin/env bash
# Starts Segue as one process per service on PostgreSQL, Cassandra, Redis, Kafka and S3, which
# it fetches and starts too, and lets it take in music from a bucket. Ends with ctrl-C, and
# leaves nothing behind. Arguments: cache folder, music.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=$1 music=$2
[ -n "$music" ] || music=$(scripts/demo.sh "$cache")
[ -d "$music" ] || { echo "$music is no folder" >&2; exit 1; }
scripts/engines.sh "$cache" >&2
go build -o bin/ ./test/engines
go build -o bin/cluster ./test/cluster/cmd
exec bin/cluster run -engines="$cache/engines" -music="$music"
