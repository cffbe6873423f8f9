#!/usr/bin/env bash
# Looks at what Segue is made of: are the modules those of go.sum, has one a reachable
# vulnerability, may we use their licences; and writes what a binary and the player hold
# into dist/sbom.json and dist/sbom-web.json (CycloneDX). Arguments: the cache folder; with
# "source" as the second, vulnerabilities are looked for along the calls of all sources,
# tests included, which takes minutes; else among the symbols that the programs hold.
# It fails for what is wrong; where the vulnerability database cannot be reached it says so,
# loudly, and goes on.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/segue}
by=${2:-programs}
govulncheck_version=v1.9.0
cyclonedx_version=v1.10.0
export CGO_ENABLED=0

# tool builds a tool of a version, once; its name has the version.
tool() {
  local name=$1 at=$2 version=$3
  [ -x "$cache/bin/$name-$version" ] && return
  echo "Building $name $version"
  local work
  work=$(mktemp -d)
  (cd "$work" && GOFLAGS=-mod=mod GOBIN="$work" go install "$at@$version")
  mkdir -p "$cache/bin"
  mv -T "$work/$name" "$cache/bin/$name-$version"
  rm -rf "$work"
}
tool govulncheck golang.org/x/vuln/cmd/govulncheck "$govulncheck_version"
tool cyclonedx-gomod github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod "$cyclonedx_version"

warn() { printf '\n!!! %s\n!!! %s\n\n' "$1" "$2" >&2; }

echo "--- modules"
go mod verify

echo "--- licences"
[ -f web/node_modules/.package-lock.json ] || scripts/web.sh gen
go run ./test/supply licences

echo "--- bill of materials"
mkdir -p dist
[ -x bin/segue ] || go build -trimpath -o bin/ ./cmd/segue ./cmd/seguectl
"$cache/bin/cyclonedx-gomod-$cyclonedx_version" bin -json -std -version "$(git describe --tags --always 2>/dev/null || echo v0)" -output dist/sbom.json bin/segue
go run ./test/supply sbom bin/segue dist/sbom.json
(cd web && npm sbom --sbom-format cyclonedx) >dist/sbom-web.json
go run ./test/supply websbom dist/sbom-web.json

echo "--- vulnerabilities"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
found="$work/found"
# scan runs govulncheck on a database: 0 clean, 3 a vulnerability, else no scan.
scan() {
  local status=0 check="$cache/bin/govulncheck-$govulncheck_version" worst=0 program
  if [ "$by" = source ]; then
    "$check" -db "$1" ./... >"$found" 2>&1 || worst=$?
    return $worst
  fi
  # With their symbols, which those that ship have not.
  go build -trimpath -o "$work/" ./cmd/segue ./cmd/seguectl
  for program in segue seguectl; do
    status=0
    "$check" -db "$1" -mode binary "$work/$program" >>"$found" 2>&1 || status=$?
    [ $status -eq 0 ] || [ $worst -eq 3 ] || worst=$status
  done
  return $worst
}
db=${GOVULNDB:-https://vuln.go.dev}
status=1
if [[ $db != http* ]] || curl -sSf -m 20 -o /dev/null "$db/index/db.json" 2>/dev/null; then
  status=0
  scan "$db" || status=$?
else
  # The reports are a Go module too, so that a place with nothing but a module proxy has
  # them, as of some days or weeks ago.
  warn "The vulnerability database $db cannot be reached." "Taking its source as of golang.org/x/vulndb from the module proxy."
  source=$(go mod download -json golang.org/x/vulndb@latest 2>/dev/null | sed -nE 's/^\t"(Dir|Version)": "(.*)",?$/\2/p' || true)
  version=$(sed -n 1p <<<"$source") dir=$(sed -n 2p <<<"$source")
  if [ -n "$dir" ] && [ -d "$dir/data/osv" ]; then
    snapshot="$cache/vulndb-$version"
    if [ ! -d "$snapshot" ]; then
      rm -rf "$snapshot.new"
      go run ./test/supply vulndb "$dir" "$snapshot.new"
      mv -T "$snapshot.new" "$snapshot"
    fi
    echo "Reports as of $version"
    status=0
    scan "file://$snapshot" || status=$?
  fi
fi
case $status in
  0) tail -n 3 "$found" ;;
  3)
    cat "$found"
    echo "supply: what ships has known vulnerabilities" >&2
    exit 1
    ;;
  *)
    tail -n 5 "$found" >&2
    warn "NO SCAN FOR VULNERABILITIES WAS DONE." "Nothing is known about them; run this where $db or a Go module proxy is reached."
    ;;
esac
