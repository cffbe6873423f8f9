#!/usr/bin/env bash
# Checks deploy/ with promtool: the settings, the alert rules and their unit tests, and,
# where an address of an ops door is given (http://127.0.0.1:9464), its live /metrics page.
# Fetches promtool from Debian's archive where this machine has none, without installing
# or starting a server. Argument: the cache folder; $2: the ops door.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/segue}
door=${2:-}

promtool=$(command -v promtool || true)
if [ -z "$promtool" ]; then
  promtool="$cache/prometheus/usr/bin/promtool"
  if [ ! -x "$promtool" ]; then
    if ! command -v apt-get >/dev/null; then
      echo "Please install promtool, a part of Prometheus (this script knows apt only)" >&2
      exit 1
    fi
    echo "Fetching promtool: the package prometheus"
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    (cd "$work" && apt-get download prometheus >/dev/null 2>&1) || {
      as_root=()
      [ "$(id -u)" -eq 0 ] || as_root=(sudo)
      "${as_root[@]}" apt-get update -qq
      (cd "$work" && apt-get download prometheus >/dev/null 2>&1)
    }
    dpkg-deb -x "$work"/prometheus_*.deb "$work/root"
    mkdir -p "$cache/prometheus/usr/bin"
    # As a whole: another run may be doing the same.
    mv -T "$work/root/usr/bin/promtool" "$promtool.$$" && mv -T "$promtool.$$" "$promtool"
  fi
fi

"$promtool" check config deploy/prometheus/prometheus.yml
"$promtool" test rules deploy/prometheus/segue.rules.test.yml
if [ -n "$door" ]; then
  page=$(curl -sSf "$door/metrics")
  # It tells what it has to say on standard error, and by its status.
  said=$("$promtool" check metrics <<<"$page" 2>&1) || { echo "$said" >&2; exit 1; }
  [ -z "$said" ] || { echo "$said" >&2; exit 1; }
  echo "$(grep -c '^# TYPE' <<<"$page") metrics of $door are in order"
fi
