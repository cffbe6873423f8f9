#!/usr/bin/env bash
# Fetches the foreign servers that the contract suites run on (make test-engines) and that
# make engines starts into CACHE/engines: Apache Kafka and Apache Cassandra, as jars by
# Maven; versitygw, an S3 server on a folder, and fake-gcs-server, which speaks Google
# Cloud Storage, both built by go install; PostgreSQL and Redis, by apt. What is there
# already is left alone. Argument: the cache folder.
#
# internal/testengine finds them by their plain names; the versions that are not the
# machine's own stand only here.
set -euo pipefail
cd "$(dirname "$0")/.."
kafka_version=4.1.0
cassandra_version=5.0.5
versitygw_version=v1.8.0
fake_gcs_version=v1.56.1

engines=${1:?usage: engines.sh CACHE}/engines
mkdir -p "$engines"
engines=$(cd "$engines" && pwd)
work=$(mktemp -d "$engines/.work.XXXXXX") # beside its destination, so that a move is atomic
trap 'rm -rf "$work"' EXIT

# need installs by apt the packages of the commands that are missing: command=package each.
need() {
  local packages=() pair
  for pair in "$@"; do
    command -v "${pair%%=*}" >/dev/null || packages+=("${pair#*=}")
  done
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

# jars fetches a server in Java: its name, as scripts/engines/NAME/pom.xml has it, and version.
jars() {
  local name=$1 version=$2
  if [ -d "$engines/$name-$version" ]; then
    need java=default-jre-headless
    echo "$name $version is there"
    ln -sfn "$name-$version" "$engines/$name"
    return
  fi
  need java=default-jre-headless mvn=maven
  echo "Fetching $name $version by Maven"
  mvn -q -B -ntp -Dstyle.color=never -f "scripts/engines/$name/pom.xml" dependency:copy-dependencies \
    -D"$name.version=$version" -DoutputDirectory="$work/$name"
  settle "$work/$name" "$name" "$version"
}

# built builds a server in Go: its name, version and package.
built() {
  local name=$1 version=$2 package=$3
  if [ -x "$engines/$name-$version" ]; then
    echo "$name $version is there"
    ln -sfn "$name-$version" "$engines/$name"
    return
  fi
  echo "Building $name $version, which takes minutes once"
  CGO_ENABLED=0 GOBIN="$work" nice go install -trimpath -ldflags "-s -w" "$package@$version"
  settle "$work/$name" "$name" "$version"
}

# redis takes the system's. Debian ships the server in redis-tools, where it goes by the
# name of its checker; the package redis-server would start one for the whole machine.
redis() {
  local program
  need redis-check-rdb=redis-tools
  program=$(command -v redis-server || command -v redis-check-rdb)
  ln -sfn "$program" "$engines/redis-server"
  echo "Redis is there: $("$engines/redis-server" --version | cut -d' ' -f3)"
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

jars kafka "$kafka_version"
jars cassandra "$cassandra_version"
built versitygw "$versitygw_version" github.com/versity/versitygw/cmd/versitygw
built fake-gcs-server "$fake_gcs_version" github.com/fsouza/fake-gcs-server
postgresql
redis
echo "The engines are in $engines"
