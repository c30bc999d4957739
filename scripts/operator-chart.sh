#!/usr/bin/env bash
# Copy the dask-kubernetes operator's chart out of the installed package into a folder, with its placeholders replaced:
# the package ships it without a version or an image tag.
#   scripts/operator-chart.sh FOLDER
set -euo pipefail

folder=${1:?usage: scripts/operator-chart.sh FOLDER}
here=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
[ -n "${PYTHON:-}" ] || [ ! -x "$here/.venv/bin/python" ] || python=$here/.venv/bin/python
read -r package version < <("$python" - <<'PYTHON'
import importlib.util
from importlib.metadata import version

found = importlib.util.find_spec("dask_kubernetes")
if found is not None:
    print(found.submodule_search_locations[0], version("dask-kubernetes"))
PYTHON
) || { echo "error: $python does not have the package dask-kubernetes: run \`make setup\`, or name another one by PYTHON" >&2; exit 1; }
rm -rf "$folder"
mkdir -p "$(dirname "$folder")"
cp -r "$package/operator/deployment/helm/dask-kubernetes-operator" "$folder"
sed -i "s/^version:.*/version: $version/; s/^appVersion:.*/appVersion: \"$version\"/" "$folder/Chart.yaml"
sed -i "s/set-by-chartpress/$version/" "$folder/values.yaml"
echo "$folder holds the operator's chart $version"
