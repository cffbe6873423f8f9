#!/usr/bin/env bash
# Prints the path of an nginx, for the tests of deploy/nginx.conf and the comparison with it:
# the one that is installed, or Debian's, fetched into the cache without installing or
# starting a server. Argument: the cache folder.
set -euo pipefail
cache=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/segue}
for path in "$(command -v nginx || true)" /usr/sbin/nginx "$cache/nginx/usr/sbin/nginx"; do
  [ -n "$path" ] && [ -x "$path" ] && "$path" -v 2>/dev/null && echo "$path" && exit 0
done
if ! command -v apt-get >/dev/null; then
  echo "Please install nginx (this script knows apt only)" >&2
  exit 1
fi
echo "Fetching nginx: the package nginx" >&2
mkdir -p "$cache"
work=$(mktemp -d "$cache/.nginx.XXXXXX")
trap 'rm -rf "$work"' EXIT
(cd "$work" && apt-get download nginx >/dev/null 2>&1) || {
  as_root=()
  [ "$(id -u)" -eq 0 ] || as_root=(sudo)
  "${as_root[@]}" apt-get update -qq >&2
  (cd "$work" && apt-get download nginx >/dev/null 2>&1)
}
dpkg-deb -x "$work"/nginx_*.deb "$work/root"
# As a whole: another run may be doing the same.
mv -nT "$work/root" "$cache/nginx" || true
"$cache/nginx/usr/sbin/nginx" -v 2>/dev/null
echo "$cache/nginx/usr/sbin/nginx"
