#!/usr/bin/env bash
# Starts segue with everything in one process, lets it take in a folder of music and
# shows how far it is. Ends with ctrl-C. Arguments: data folder, cache folder, music.
set -euo pipefail
cd "$(dirname "$0")/.."
data=$1 cache=$2 music=$3
mkdir -p "$data"
chmod 700 "$data"
[ -n "$music" ] || music=$(scripts/demo.sh "$cache")
[ -d "$music" ] || { echo "$music is no folder" >&2; exit 1; }

password="$data/admin-password"
if [ ! -s "$password" ]; then
  (umask 077 && head -c 12 /dev/urandom | base64 | tr '+/' 'xy' >"$password")
fi
ready="$data/ready.json"
rm -f "$ready"
bin/segue -data="$data" -user.admin-password.file="$password" -upload.watch="$music" -ready.file="$ready" 2>>"$data/segue.log" &
server=$!
trap 'kill -TERM $server 2>/dev/null; wait $server 2>/dev/null || true' EXIT
trap 'exit 0' INT TERM
while [ ! -s "$ready" ]; do
  kill -0 $server 2>/dev/null || { tail -n 20 "$data/segue.log" >&2; echo "segue did not start; see $data/segue.log" >&2; exit 1; }
  sleep 0.05
done
url=$(sed -E 's/.*"http": ?"([^"]+)".*/\1/' "$ready")
cat <<MSG

  Segue is at        $url
  Sign in as         admin
  with the password  $(cat "$password")

MSG
export SEGUECTL_CONFIG="$data/seguectl"
bin/seguectl login --server "$url" --user admin --password-stdin <"$password" >/dev/null
bin/seguectl status --wait
echo "  Ready. The log is $data/segue.log; ctrl-C stops."
wait $server
