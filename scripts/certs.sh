#!/usr/bin/env bash
# Makes the certificates by which the processes of one installation know each other:
# certs.sh DIR PROCESS[=TARGET,TARGET...]... writes DIR/PROCESS.pem and DIR/PROCESS-key.pem, which
# name the process's targets (by default the one it is called after), signed by the authority
# DIR/ca.pem. The authority is made when there is none; keep DIR/ca-key.pem off the machines.
# They last a year; running it again renews them, and processes take the new files by
# themselves: -rpc.cert.file, -rpc.key.file, -rpc.ca.file.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,7s/^# //p' "$0" >&2; exit 2; }
dir=$1 && shift
umask 077
mkdir -p "$dir"

quiet=-quiet
# Debian 12's openssl knows no -quiet here, and needs none.
openssl genpkey -quiet -algorithm ED25519 -out /dev/null 2>/dev/null || quiet=
key() { openssl genpkey ${quiet:+"$quiet"} -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"; }

if [ ! -f "$dir/ca.pem" ]; then
  key "$dir/ca-key.pem"
  openssl req -new -x509 -key "$dir/ca-key.pem" -days 3650 -subj "/CN=Segue internal authority" \
    -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign" -out "$dir/ca.pem"
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for process in "$@"; do
  name=${process%%=*} targets=${process#*=}
  names=$(tr ',' '\n' <<<"$targets" | sed 's/.*/DNS:&.segue.internal/' | paste -sd,)
  printf 'basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\nsubjectAltName=%s\n' "$names" >"$work/ext"
  key "$work/key"
  openssl req -new -key "$work/key" -subj "/CN=$name" -out "$work/csr"
  openssl x509 -req -in "$work/csr" -CA "$dir/ca.pem" -CAkey "$dir/ca-key.pem" -set_serial "0x$(openssl rand -hex 15)" \
    -days 365 -extfile "$work/ext" -out "$work/pem" 2>/dev/null
  # As a whole, and the key first: whoever sees one without the other tries again.
  mv "$work/key" "$dir/$name-key.pem"
  mv "$work/pem" "$dir/$name.pem"
done
