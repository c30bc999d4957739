#!/usr/bin/env bash
# Install what a node is made of and Debian has; needs root. Does nothing when all of it is there.
set -euo pipefail
. "$(dirname "$0")/places.sh"

packages=(
  etcd-server containerd runc containernetworking-plugins iptables conntrack iproute2 openssl
  debootstrap buildah podman prometheus-pushgateway prometheus
)
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q '^install ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  [ "$(id -u)" = 0 ] || die "these packages are missing, and installing them needs root: ${missing[*]}"
  apt-get update -qq
  # Their daemons must not start here: the tests run their own.
  DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
step "packages of the machine"
