#!/usr/bin/env bash
# Fetches the foreign servers that the contract suites run on (make test-engines) into
# CACHE/engines: Apache Kafka and Apache Cassandra, as jars by Maven, and versitygw, an S3
# server on a folder, built by go install. What is there already is left alone. Argument:
# the cache folder.
#
# internal/testengine finds them as "kafka", "cassandra" and "versitygw"; their versions
# stand only here.
set -euo pipefail
cd "$(dirname "$0")/.."
kafka_version=4.1.0
cassandra_version=5.0.5
versitygw_version=v1.8.0

engines=${1:?usage: engines.sh CACHE}/engines
mkdir -p "$engines"
engines=$(cd "$engines" && pwd)
work=$(mktemp -d "$engines/.work.XXXXXX") # beside its destination, so that a move is atomic
trap 'rm -rf "$work"' EXIT

# need installs by apt what is missing of java and, when asked for, maven.
need() {
  local packages=() as_root=()
  command -v java >/dev/null || packages+=(default-jre-headless)
  [ "$1" != maven ] || command -v mvn >/dev/null || packages+=(maven)
  [ ${#packages[@]} -gt 0 ] || return 0
  if ! command -v apt-get >/dev/null; then
    echo "Please install: ${packages[*]} (this script knows apt only)" >&2
    exit 1
  fi
  [ "$(id -u)" -eq 0 ] || as_root=(sudo)
  echo "Installing ${packages[*]}"
  "${as_root[@]}" apt-get update -qq
  DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
}

# settle moves a finished engine to its versioned name, unless another run was first,
# and points the plain name at it.
settle() {
  local made=$1 name=$2 version=$3
  mv -nT "$made" "$engines/$name-$version" || [ -e "$engines/$name-$version" ]
  ln -sfn "$name-$version" "$engines/$name"
}

# jars fetches an engine that Maven has, by scripts/engines/NAME/pom.xml.
jars() {
  local name=$1 title=$2 version=$3
  if [ -d "$engines/$name-$version" ]; then
    need java
    echo "$title $version is there"
    ln -sfn "$name-$version" "$engines/$name"
    return
  fi
  need maven
  echo "Fetching $title $version by Maven"
  mvn -q -B -ntp -Dstyle.color=never -f "scripts/engines/$name/pom.xml" dependency:copy-dependencies \
    -D"$name.version=$version" -DoutputDirectory="$work/$name"
  settle "$work/$name" "$name" "$version"
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

jars kafka Kafka "$kafka_version"
jars cassandra Cassandra "$cassandra_version"
versitygw
echo "The engines are in $engines"
