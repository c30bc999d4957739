#!/usr/bin/env bash
# Build every binary of the node from pinned Go modules into the cache: about six minutes on two cores, once per version.
set -euo pipefail
. "$(dirname "$0")/places.sh"

command -v go >/dev/null || die "the Go toolchain is missing; the cluster tests build Kubernetes with it"
export CGO_ENABLED=0 GOTOOLCHAIN=local
stamp=k8s.io/component-base/version
version_flags="-s -w -X $stamp.gitVersion=v$kubernetes_version -X $stamp.gitMajor=1 -X $stamp.gitMinor=34"
version_flags="$version_flags -X $stamp.gitTreeState=clean -X $stamp.gitCommit=unknown"

# A half-written binary must never pass for a whole one.
built() { mv "$bin/$1.new" "$bin/$1"; step "$1"; }

for command in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy; do
  [ -x "$bin/$command" ] && continue
  (cd "$here/tools/kubernetes" && go build -trimpath -buildvcs=false -ldflags "$version_flags" \
    -o "$bin/$command.new" "k8s.io/kubernetes/cmd/$command")
  built "$command"
done
for command in coredns pause; do
  [ -x "$bin/$command" ] && continue
  source=.
  [ "$command" = pause ] && source=./pause
  (cd "$here/tools/dns" && go build -trimpath -buildvcs=false -ldflags '-s -w' -o "$bin/$command.new" "$source")
  built "$command"
done
"$root/scripts/tools.sh"
install -m 755 "$root/.tools/bin/helm" "$root/.tools/bin/kubectl" "$bin/"
step "binaries of the node"
