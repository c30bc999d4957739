# Sourced by the scripts of this folder: where things are kept between runs, and how a step reports.
# Binaries and images are kept by version in the user's cache folder, so that only the first run on a machine is slow.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
here=$root/tests/cluster
kubernetes_version=1.34.10
cache=${BATCHSCORE_CLUSTER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/batchscore-cluster/$kubernetes_version}
bin=$cache/bin
images=$cache/images
mkdir -p "$bin" "$images"

step() { printf '%6ss  %s\n' "$SECONDS" "$*"; }
die() { echo "error: $*" >&2; exit 1; }
