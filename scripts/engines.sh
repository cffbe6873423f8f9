#!/usr/bin/env bash
# Fetches the foreign servers that the contract suites run on (make test-engines) into
# CACHE/engines: Apache Kafka, as jars by Maven, versitygw, an S3 server on a folder,
# built by go install, and PostgreSQL, by apt. What is there already is left alone.
# Argument: the cache folder.
#
# internal/testengine finds them as "kafka", "versitygw" and "postgresql"; the versions
# that are not the machine's own stand only here.
set -euo pipefail
cd "$(dirname "$0")/.."
kafka_version=4.1.0
versitygw_version=v1.8.0

engines=${1:?usage: engines.sh CACHE}/engines
mkdir -p "$engines"
engines=$(cd "$engines" && pwd)
work=$(mktemp -d "$engines/.work.XXXXXX") # beside its destination, so that a move is atomic
trap 'rm -rf "$work"' EXIT

# need installs by apt what is missing of java and, when asked for, maven.
need() {
  local packages=()
  command -v java >/dev/null || packages+=(default-jre-headless)
  [ "$1" != maven ] || command -v mvn >/dev/null || packages+=(maven)
  [ ${#packages[@]} -eq 0 ] || by_apt "${packages[@]}"
}

by_apt() {
  local as_root=()
  if ! command -v apt-get >/dev/null; then
    echo "Please install: $* (this script knows apt only)" >&2
    exit 1
  fi
  [ "$(id -u)" -eq 0 ] || as_root=(sudo)
  echo "Installing $*"
  "${as_root[@]}" apt-get update -qq
  DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# settle moves a finished engine to its versioned name, unless another run was first,
# and points the plain name at it.
settle() {
  local made=$1 name=$2 version=$3
  mv -nT "$made" "$engines/$name-$version" || [ -e "$engines/$name-$version" ]
  ln -sfn "$name-$version" "$engines/$name"
}

kafka() {
  if [ -d "$engines/kafka-$kafka_version" ]; then
    need java
    echo "Kafka $kafka_version is there"
    ln -sfn "kafka-$kafka_version" "$engines/kafka"
    return
  fi
  need maven
  echo "Fetching Kafka $kafka_version by Maven"
  mvn -q -B -ntp -Dstyle.color=never -f scripts/engines/kafka/pom.xml dependency:copy-dependencies \
    -Dkafka.version="$kafka_version" -DoutputDirectory="$work/kafka"
  settle "$work/kafka" kafka "$kafka_version"
}

versitygw() {
  if [ -x "$engines/versitygw-$versitygw_version" ]; then
    echo "versitygw $versitygw_version is there"
    ln -sfn "versitygw-$versitygw_version" "$engines/versitygw"
    return
  fi
  echo "Building versitygw $versitygw_version, which takes minutes once"
  CGO_ENABLED=0 GOBIN="$work" nice go install -trimpath -ldflags "-s -w" \
    "github.com/versity/versitygw/cmd/versitygw@$versitygw_version"
  settle "$work/versitygw" versitygw "$versitygw_version"
}

# postgres_bin is the folder of the newest PostgreSQL on this machine, empty where there
# is none: Debian puts each release apart and none on the path.
postgres_bin() {
  local found
  found=$(ls -d /usr/lib/postgresql/*/bin/postgres 2>/dev/null | sort -V | tail -1) || true
  [ -n "$found" ] || found=$(command -v postgres) || return 0
  dirname "$(readlink -f "$found")"
}

postgresql() {
  [ -n "$(postgres_bin)" ] || by_apt postgresql
  echo "PostgreSQL is in $(postgres_bin)"
  ln -sfn "$(postgres_bin)" "$engines/postgresql"
}

kafka
versitygw
postgresql
echo "The engines are in $engines"
