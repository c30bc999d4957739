#!/usr/bin/env bash
# Build every binary of the node from pinned Go modules into the cache: about six minutes on two cores, once per version.
set -euo pipefail
. "$(dirname "$0")/places.sh"

command -v go >/dev/null || die "the Go toolchain is missing; the cluster tests build Kubernetes with it"
export CGO_ENABLED=0 GOTOOLCHAIN=local
stamp=k8s.io/component-base/version
version_flags="-s -w -X $stamp.gitVersion=v$kubernetes_version -X $stamp.gitMajor=1 -X $stamp.gitMinor=34"
version_flags="$version_flags -X $stamp.gitTreeState=clean -X $stamp.gitCommit=unknown"

# A half-written binary must never pass for a whole one. How long it took is kept beside it.
build() { # COMMAND FOLDER PACKAGE FLAGS
  local began=$SECONDS
  if [ -x "$bin/$1" ]; then
    step "$1, kept from an earlier run$([ ! -e "$bin/$1.seconds" ] || echo ", built in $(cat "$bin/$1.seconds") s")"
    return
  fi
  (cd "$2" && go build -trimpath -buildvcs=false -ldflags "$4" -o "$bin/$1.new" "$3")
  mv "$bin/$1.new" "$bin/$1"
  echo $((SECONDS - began)) >"$bin/$1.seconds"
  step "$1, built from its Go module"
}

for command in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy; do
  build "$command" "$here/tools/kubernetes" "k8s.io/kubernetes/cmd/$command" "$version_flags"
done
build coredns "$here/tools/dns" . '-s -w'
build pause "$here/tools/dns" ./pause '-s -w'
"$root/scripts/tools.sh"
install -m 755 "$root/.tools/bin/helm" "$root/.tools/bin/kubectl" "$bin/"
step "helm and kubectl"
