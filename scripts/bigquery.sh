#!/usr/bin/env bash
# Fetches bqemulator, which speaks BigQuery's API on DuckDB, into CACHE/bigquery. What is
# there already is left alone. Argument: the cache folder.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${1:?usage: bigquery.sh CACHE}/bigquery
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
list=scripts/bigquery/requirements.txt
venv=venv-$(sha256sum "$list" | cut -c1-12)
if [ ! -e "$cache/$venv/complete" ]; then
  echo "Installing bqemulator by pip"
  rm -rf "${cache:?}/$venv"
  python3 -m venv "$cache/$venv" 2>/dev/null || {
    as_root=()
    [ "$(id -u)" -eq 0 ] || as_root=(sudo)
    "${as_root[@]}" apt-get update -qq
    DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends python3-venv >/dev/null
    python3 -m venv "$cache/$venv"
  }
  "$cache/$venv/bin/pip" -q install -r "$list"
  # DuckDB looks for extensions in the home of who runs it: the emulator is given this one.
  mkdir -p "$cache/$venv/home"
  HOME="$cache/$venv/home" "$cache/$venv/bin/python" -c 'from duckdb_extensions import import_extension; import_extension("spatial")'
  touch "$cache/$venv/complete"
fi
ln -sfn "$venv" "$cache/venv"
echo "bqemulator is in $cache"
