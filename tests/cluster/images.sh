#!/usr/bin/env bash
# Build the images of the tests, our own by docker/Dockerfile on a base made here, and save them into one archive: images.tar.
# Nothing is pulled: the base comes from Debian's packages.
#   images.sh           all of that
#   images.sh again     our own image once more, from nothing, as batchscore:again
#   images.sh sbom DIR  the bill of materials, as sbom.cdx.json in DIR
set -euo pipefail
. "$(dirname "$0")/places.sh"

# podman takes no run folder of more than 50 characters; nothing in it outlives this script.
running=$(mktemp -d "${TMPDIR:-/tmp}/bsimages.XXXXXX")
trap 'rm -rf "$running"' EXIT
store=(--root "$images/store" --runroot "$running" --storage-driver overlay)
rootfs=$images/rootfs

if [ ! -e "$rootfs/.whole" ]; then
  rm -rf "$rootfs"
  mirror=$(awk '/^URIs:/ {print $2; exit} /^deb / {for (i = 2; i <= NF; i++) if ($i ~ /^http/) {print $i; exit}}' \
    /etc/apt/sources.list.d/*.sources /etc/apt/sources.list 2>/dev/null | head -1)
  debootstrap --variant=minbase --include=python3,python3-venv,python3-pip,ca-certificates bookworm "$rootfs" "$mirror" \
    >"$images/debootstrap.log" 2>&1 || die "no base image; see $images/debootstrap.log"
  rm -rf "$rootfs"/var/cache/apt/archives/*.deb "$rootfs"/var/lib/apt/lists/* "$rootfs"/usr/share/doc "$rootfs"/usr/share/man
  touch "$rootfs/.whole"
fi
step "base file system"
if ! buildah "${store[@]}" inspect --type image localhost/python:3.11-slim >/dev/null 2>&1; then
  container=$(buildah "${store[@]}" from scratch)
  buildah "${store[@]}" add -q "$container" "$rootfs" / >/dev/null
  buildah "${store[@]}" config --cmd python3 "$container"
  buildah "${store[@]}" commit -q --rm "$container" localhost/python:3.11-slim >/dev/null
fi
step "base image"

options=(--pull-never --isolation chroot --network host --layers --timestamp 0)
# A machine behind a proxy has its own package index and authorities: they are lent to the build, and stay out of the image.
for file in /etc/pip.conf /etc/ssl/certs/ca-certificates.crt; do
  [ -e "$file" ] && options+=(-v "$file:$file:ro")
done

build() { # TAG DOCKERFILE CONTEXT [OPTION…]
  local tag=$1 file=$2 context=$3
  shift 3
  buildah "${store[@]}" bud "${options[@]}" "$@" -t "localhost/$tag" -f "$file" "$context" >"$images/$(basename "$file").log" 2>&1 ||
    { tail -20 "$images/$(basename "$file").log" >&2; die "the image $tag was not built"; }
  step "image $tag"
}

revision=$(git -C "$root" rev-parse HEAD 2>/dev/null || echo unknown)
ours=("$root/docker/Dockerfile" "$root" --build-arg BASE=localhost/python:3.11-slim --build-arg VERSION=0.1.0
  --build-arg "REVISION=$revision")
case ${1:-all} in
  again) build batchscore:again "${ours[@]}" --no-cache; exit ;;
  sbom) build batchscore:sbom "${ours[@]}" --target sbom --output "type=local,dest=$2"; exit ;;
esac
build batchscore:test "${ours[@]}"
build dask-operator:test "$here/images/Dockerfile.operator" "$here/images"
mkdir -p "$images/monitoring"
cp "$(command -v prometheus-pushgateway)" "$(command -v prometheus)" "$images/monitoring/"
build monitoring:test "$here/images/Dockerfile.monitoring" "$images/monitoring"

rm -rf "$images/images.tar" "$images/store/libpod" # podman remembers the run folder there, and no image
podman "${store[@]}" save -q -m -o "$images/images.tar" \
  localhost/batchscore:test localhost/dask-operator:test localhost/monitoring:test
step "archive of $(du -m "$images/images.tar" | cut -f1) MiB"
