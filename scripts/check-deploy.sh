#!/usr/bin/env bash
# Checks the Helm chart and the other files of deploy/: lint, the objects against the
# schemas of Kubernetes, and the tests that hold them to the program, to proto/ and to the
# alerts. No cluster is needed, and none is asked. Arguments: the cache folder, helm.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${1:?usage: check-deploy.sh CACHE HELM}
helm=${2:?usage: check-deploy.sh CACHE HELM}
validate_version=1.37.0
compose_version=v2.16.2
kubernetes=(1.30 1.34) # the oldest that the chart takes, and a newer one

chart=deploy/helm/segue
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# It says of every link in the chart that it followed it.
said=0
"$helm" lint --strict "$chart" -f "$chart/ci/values.yaml" >"$work/lint" 2>&1 || said=$?
grep -v 'symbolic link' "$work/lint" || true
[ $said -eq 0 ]

venv="$cache/kubernetes-validate-$validate_version"
if [ ! -x "$venv/bin/kubernetes-validate" ]; then
  echo "Installing kubernetes-validate $validate_version"
  rm -rf "$venv"
  python3 -m venv "$venv" 2>/dev/null || {
    as_root=()
    [ "$(id -u)" -eq 0 ] || as_root=(sudo)
    "${as_root[@]}" apt-get update -qq
    DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends python3-venv >/dev/null
    python3 -m venv "$venv"
  }
  "$venv/bin/pip" -q install "kubernetes-validate==$validate_version"
fi
for version in "${kubernetes[@]}"; do
  "$helm" template segue "$chart" -f "$chart/ci/values.yaml" --namespace music --kube-version "$version.0" >"$work/all.yaml" 2>"$work/said" ||
    { cat "$work/said" >&2; exit 1; }
  # Objects of the Prometheus operator and of the Gateway API have no schema there.
  "$venv/bin/kubernetes-validate" --strict --quiet --no-warn -k "$version" "$work/all.yaml"
  echo "$(grep -c '^kind:' "$work/all.yaml") objects are valid for Kubernetes $version"
done

# The loader of docker compose, which holds the file to the specification.
compose="$cache/bin/compose-go-$compose_version"
if [ ! -x "$compose" ]; then
  echo "Building compose-go $compose_version"
  GOBIN="$work" CGO_ENABLED=0 go install -trimpath "github.com/compose-spec/compose-go/v2/cmd@$compose_version"
  mkdir -p "$cache/bin"
  mv "$work/cmd" "$compose"
fi
# It knows no variables, and paths are as seen from the file.
mkdir "$work/deploy"
sed -E 's/\$\{SEGUE_S3_SECRET:\?[^}]*\}/x/g; s/\$\{SEGUE_SECRETS:\?[^}]*\}/\/tmp/g' deploy/compose.yaml >"$work/deploy/compose.yaml"
"$compose" "$work/deploy/compose.yaml" >/dev/null
echo "deploy/compose.yaml is one"

HELM="$helm" go test -count=1 -tags deploy ./test/deploy
