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
    # hyperrogue's music is hr*; the rest of its sounds are for the game.
    only='*' && [ "$name" = hyperrogue-music ] && only='hr*'
    find "$work/root" -type f -name "$only.ogg" -exec cp -t "$to/$name" {} +
    cp "$work/root/usr/share/doc/$name/copyright" "$to/$name/COPYRIGHT"
    rm -rf "$work/root"
  done
  touch "$to/.complete"
fi
for dir in "$to"/*/; do
  licences=$(sed -nE 's/^[Ll]icen[cs]e: *//p' "$dir/COPYRIGHT" | sort -u | paste -sd, | sed 's/,/, /g' | cut -c1-80)
  [ -n "$licences" ] || licences=$(grep -oiE 'GNU General Public License|GPL-[0-9.]+|Creative Commons' "$dir/COPYRIGHT" | sort -fu | paste -sd, | sed 's/,/, /g' | cut -c1-80 || true)
  artists=$(find "$dir" -name '*.ogg' -exec sh -c 'for f; do head -c 4096 "$f" | tr "\001-\037" "\n" | tr -d "\000" | grep -aioE "^ARTIST=.+" | head -n 1 | cut -c8-; done' _ {} + |
    sort | uniq -c | sort -rn | sed 's/^ *[0-9]* //' | head -n 6 | paste -sd, | sed 's/,/, /g')
  printf '  %-20s %3d tracks  %s\n%*sby %s\n' "$(basename "$dir")" "$(find "$dir" -name '*.ogg' | wc -l)" "$licences" 36 '' "$artists" >&2
done
echo "  Who made what, and the terms: COPYRIGHT in each folder of $to" >&2
echo "$to"
