#!/usr/bin/env bash
# Makes the image of deploy/Dockerfile with buildah, without a daemon and in a chroot:
# image.sh [NAME[:TAG]], by default localhost/segue:latest. Where no registry is reached the
# base is made from Debian's archive by mmdebstrap instead. image.sh mount NAME prints the
# image's root, for make test-image; image.sh umount NAME gives it back.
set -euo pipefail
cd "$(dirname "$0")/.."
base=docker.io/library/debian:12-slim
suite=bookworm

need() {
  local missing=() as_root=() program
  for program in "$@"; do
    command -v "$program" >/dev/null || missing+=("$program")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  if ! command -v apt-get >/dev/null; then
    echo "Please install: ${missing[*]} (this script knows apt only)" >&2
    exit 1
  fi
  [ "$(id -u)" -eq 0 ] || as_root=(sudo)
  echo "Installing ${missing[*]}" >&2
  "${as_root[@]}" apt-get update -qq
  DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

need buildah
export BUILDAH_ISOLATION=chroot

case "${1:-}" in
  mount | umount)
    container=segue-image-test
    buildah rm "$container" >/dev/null 2>&1 || true
    [ "$1" = mount ] || exit 0
    buildah from --pull-never --name "$container" "${2:?usage: image.sh mount NAME}" >/dev/null
    buildah mount "$container"
    exit
    ;;
esac

name=${1:-localhost/segue:latest}
[ -x bin/segue ] && [ -x bin/seguectl ] || { echo "image: bin/segue is not built: make build" >&2; exit 1; }

if ! buildah inspect --type image "$base" >/dev/null 2>&1 && ! timeout 60 buildah pull -q "$base" >/dev/null 2>&1; then
  base=localhost/segue-base:$suite
  if ! buildah inspect --type image "$base" >/dev/null 2>&1; then
    echo "No registry is reached: making the base from Debian's archive" >&2
    need mmdebstrap
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    mmdebstrap --quiet --variant=minbase --include=ca-certificates "$suite" "$work/root.tar" \
      "deb http://deb.debian.org/debian $suite main" \
      "deb http://deb.debian.org/debian $suite-updates main" \
      "deb http://deb.debian.org/debian-security $suite-security main"
    container=$(buildah from scratch)
    buildah add -q "$container" "$work/root.tar" / >/dev/null
    buildah commit -q --rm "$container" "$base" >/dev/null
  fi
fi
buildah build -q --layers --build-arg BASE="$base" --ignorefile deploy/Dockerfile.dockerignore -f deploy/Dockerfile -t "$name" .
buildah images --format '{{.Name}}:{{.Tag}} {{.Size}}' "$name"
