#!/usr/bin/env bash
# Measures how well tempo and key are told, beside librosa, essentia and aubio, on pieces
# that are made for it, and how alike near tracks are; prints Markdown: labelled.sh CACHE.
# SEEDS (101 to 109) make the pieces: 32 each, and 24 that are the same for all. What it
# installs outside of the cache folder are Debian's fluidsynth, its two soundfonts and aubio.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${1:?usage: labelled.sh CACHE}/labelled
read -ra seeds <<<"${SEEDS:-101 102 103 104 105 106 107 108 109}"

if ! command -v fluidsynth >/dev/null || ! command -v aubio >/dev/null || [ ! -f /usr/share/sounds/sf2/TimGM6mb.sf2 ]; then
  as_root=(); [ "$(id -u)" -eq 0 ] || as_root=(sudo)
  "${as_root[@]}" apt-get update -qq >&2
  DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends \
    fluidsynth fluid-soundfont-gm timgm6mb-soundfont aubio-tools python3-venv >&2
fi
mkdir -p "$cache"
if [ ! -f "$cache/venv/.complete-1" ]; then
  rm -rf "$cache/venv"
  python3 -m venv "$cache/venv"
  "$cache/venv/bin/pip" install -q 'music21==10.5.1' 'mido==1.3.3' 'librosa==0.11.0' 'essentia==2.1b6.dev1389' >&2
  touch "$cache/venv/.complete-1"
fi
if [ ! -d "$cache/openmsx" ]; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  (cd "$work" && apt-get download -q openttd-openmsx >&2 && dpkg-deb -x openttd-openmsx_*.deb root)
  mv "$work/root/usr" "$cache/openmsx"
fi
make_pieces() { # FOLDER ARGUMENTS
  [ -f "$cache/$1/labels.csv" ] || (cd test/labelled && PYTHONDONTWRITEBYTECODE=1 "$cache/venv/bin/python" -m pieces "${@:2}" "$cache/$1") >&2
}
folders=()
for seed in "${seeds[@]}"; do
  make_pieces "band-$seed" --groups band,chorale --seed "$seed"
  folders+=("$cache/band-$seed")
done
make_pieces fixed --groups classical,openmsx --openmsx "$cache/openmsx"
make_pieces other-soundfont --groups band,chorale,classical --seed 201 --soundfont /usr/share/sounds/sf2/TimGM6mb.sf2
folders+=("$cache/fixed")

CGO_ENABLED=0 go build -o "$cache/labelled" ./test/labelled
echo "## Tempo and key of pieces that are made"
"$cache/venv/bin/python" test/labelled/peers.py "${folders[@]}" >"$cache/peers.csv"
"$cache/labelled" score -peers "$cache/peers.csv" "${folders[@]}"
echo "## The same kinds of pieces by another soundfont (TimGM6mb)"
"$cache/venv/bin/python" test/labelled/peers.py "$cache/other-soundfont" >"$cache/peers-other.csv"
"$cache/labelled" score -peers "$cache/peers-other.csv" "$cache/other-soundfont"
music=$(scripts/demo.sh "$(dirname "$cache")")
echo "## Near in sound, in the demo catalogue"
"$cache/labelled" like "$music"
