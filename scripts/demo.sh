#!/usr/bin/env bash
# Fetches a demo catalogue of real, freely licensed music from Debian's archive into
# $1/music, without installing anything, and tells whose it is. Does nothing twice.
set -euo pipefail
to="$1/music"
packages=(wesnoth-1.16-music singularity-music hyperrogue-music)

if [ ! -f "$to/.complete" ]; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  echo "Fetching demo music: ${packages[*]}" >&2
  (cd "$work" && apt-get download "${packages[@]}" >/dev/null 2>&1) || {
    as_root=(); [ "$(id -u)" -eq 0 ] || as_root=(sudo)
    "${as_root[@]}" apt-get update -qq >&2
    (cd "$work" && apt-get download "${packages[@]}" >/dev/null)
  }
  mkdir -p "$to"
  for deb in "$work"/*.deb; do
    name=$(basename "$deb" | cut -d_ -f1)
    dpkg-deb -x "$deb" "$work/root"
    mkdir -p "$to/$name"
    find "$work/root" -type f \( -name '*.ogg' -o -name '*.mp3' -o -name '*.flac' \) -exec cp -t "$to/$name" {} +
    cp "$work/root/usr/share/doc/$name/copyright" "$to/$name/COPYRIGHT"
    rm -rf "$work/root"
  done
  touch "$to/.complete"
fi
for dir in "$to"/*/; do
  licences=$(grep -hiE '^License:' "$dir/COPYRIGHT" | sed 's/^[Ll]icense: *//' | sort -u | paste -sd, | sed 's/,/, /g' | cut -c1-100)
  printf '  %-22s %3d tracks  %s\n' "$(basename "$dir")" "$(find "$dir" -name '*.ogg' -o -name '*.mp3' -o -name '*.flac' | wc -l)" "$licences" >&2
done
echo "  (who made what: COPYRIGHT in each folder of $to)" >&2
echo "$to"
