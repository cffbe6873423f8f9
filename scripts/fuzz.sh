#!/usr/bin/env bash
# Fuzzes the parsers: fuzz.sh TIME [JOBS [PATTERN]] runs every target whose name or folder
# matches PATTERN for TIME each, JOBS of them at once on one core each. What is found to
# reach new code stays in Go's cache; fuzz.sh keep puts a share of it into testdata, where
# every go test runs it again.
set -euo pipefail
cd "$(dirname "$0")/.."

targets() {
  grep -rlE '^func Fuzz' --include='*_test.go' --exclude-dir=node_modules . | sort | while read -r file; do
    grep -oE '^func (Fuzz[A-Za-z0-9_]+)' "$file" | cut -d' ' -f2 | while read -r target; do
      echo "$(dirname "$file") $target"
    done
  done
}

keep() {
  local cache module
  cache=$(go env GOCACHE)/fuzz module=$(go list -m)
  targets | while read -r dir target; do
    from="$cache/$module/${dir#./}/$target" to="$dir/testdata/fuzz/$target"
    [ -d "$from" ] || continue
    # The newest are the deepest: each reached what those before it did not.
    mkdir -p "$to"
    find "$from" -type f -size -8k -printf '%T@ %p\n' | sort -rn | sed -n "1,${1:-24}p" | cut -d' ' -f2- | while read -r f; do
      cp -n "$f" "$to/"
    done
    rmdir --ignore-fail-on-non-empty "$to"
    echo "$dir $target: $(find "$to" -type f 2>/dev/null | wc -l) inputs kept"
  done
}

one() {
  local log
  log=$(mktemp)
  if go test -run '^$' -fuzz "^$3\$" -fuzztime "$1" -fuzzminimizetime 3s -parallel "${PARALLEL:-1}" "$2" >"$log" 2>&1; then
    echo "ok   $2 $3: $(grep -oE 'execs: [0-9]+' "$log" | tail -1), $(grep -oE 'total: [0-9]+' "$log" | tail -1) inputs"
    rm -f "$log"
  else
    echo "FAIL $2 $3"
    tail -40 "$log"
    rm -f "$log"
    return 1
  fi
}

if [ "${1:-}" = keep ]; then
  keep "${2:-}"
  exit
fi
export -f one
targets | grep -E "${3:-.}" | xargs -P "${2:-1}" -L 1 bash -c 'one "$0" "$1" "$2"' "${1:-20s}"
