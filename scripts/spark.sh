#!/usr/bin/env bash
# Fetches what the jobs of jobs/ run on into CACHE/spark: a Python environment with Spark by
# pip, as jobs/requirements.txt names it, and the jars of its connectors by Maven. What is
# there already is left alone. Argument: the cache folder.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${1:?usage: spark.sh CACHE}/spark
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
work=$(mktemp -d "$cache/.work.XXXXXX") # beside its destination, so that a move is atomic
trap 'rm -rf "$work"' EXIT

by_apt() {
  local as_root=()
  command -v apt-get >/dev/null || { echo "Please install: $* (this script knows apt only)" >&2; exit 1; }
  [ "$(id -u)" -eq 0 ] || as_root=(sudo)
  echo "Installing $*"
  "${as_root[@]}" apt-get update -qq
  DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

java_release() { java -version 2>&1 | sed -nE '1s/.*"([0-9]+).*/\1/p'; }

# A name says of which list it was made, so that another list makes another one.
name_of() { sha256sum "$1" | cut -c1-12; }

if ! command -v java >/dev/null || [ "$(java_release)" -lt 17 ]; then by_apt openjdk-17-jre-headless; fi

version=$(sed -n 's/^pyspark==//p' jobs/requirements.txt)
jars=jars-$(name_of scripts/spark/pom.xml)
if [ ! -d "$cache/$jars" ]; then
  command -v mvn >/dev/null || by_apt maven
  echo "Fetching the connectors of Spark $version by Maven"
  mvn -q -B -ntp -Dstyle.color=never -f scripts/spark/pom.xml dependency:copy-dependencies \
    -Dspark.version="$version" -DoutputDirectory="$work/jars"
  mv -nT "$work/jars" "$cache/$jars" || [ -d "$cache/$jars" ]
fi
ln -sfn "$jars" "$cache/jars"

# An environment knows its own path, so it is made where it stays and marked when it is whole.
venv=venv-$(name_of jobs/requirements.txt)
if [ ! -e "$cache/$venv/complete" ]; then
  echo "Installing Spark $version by pip"
  rm -rf "${cache:?}/$venv"
  python3 -m venv "$cache/$venv" 2>/dev/null || { by_apt python3-venv; python3 -m venv "$cache/$venv"; }
  "$cache/$venv/bin/pip" -q install -r jobs/requirements.txt
  touch "$cache/$venv/complete"
fi
ln -sfn "$venv" "$cache/venv"
echo "Spark $version is in $cache"
