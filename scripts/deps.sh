#!/usr/bin/env bash
# Installs what a verb needs and this machine lacks, by apt: run (the server's programs),
# browser (Chromium) or race (a C compiler as well). Does nothing where all is there.
set -euo pipefail

declare -A package=([ffmpeg]=ffmpeg [ffprobe]=ffmpeg [fpcalc]=libchromaprint-tools [openssl]=openssl)
case "${1:-run}" in
  browser) package=([chromium]=chromium [ffmpeg]=ffmpeg) ;;
  race) package+=([gcc]=build-essential) ;;
esac
missing=()
for program in "${!package[@]}"; do
  command -v "$program" >/dev/null || missing+=("${package[$program]}")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null; then
  echo "Please install: ${missing[*]} (this script knows apt only)" >&2
  exit 1
fi
as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo)
echo "Installing ${missing[*]}"
"${as_root[@]}" apt-get update -qq
DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
