#!/usr/bin/env bash
# Builds the image's last stage around the bridge that cargo has built already,
# and unpacks it to .cache/image/bundle/ for tests/image. A release build in the
# image takes minutes; `make test-image` does that, and has IMAGE, the folder of
# an OCI layout with one image, unpacked here.
#
# A bridge that is not static gets its libraries beside it, in the unpacked
# copy only.
set -euo pipefail
# shellcheck source=tests/tools/lib.sh
. "$(dirname "$0")/lib.sh"
dest=$cache/image
bridge=${SPOP_BRIDGE:-${CARGO_TARGET_DIR:-$repo/target}/debug/spop-bridge}

for tool in buildah umoci runc; do has "$tool" || die "$tool is missing: tests/tools/get-image-tools.sh"; done
mkdir -p "$dest"
work=$(mktemp -d "$dest/.work.XXXXXX")
trap 'rm -rf "$work"' EXIT

# What the first stage leaves, without its compiler.
around_built() {
    local out=$work/build/out
    [ -x "$bridge" ] || die "$bridge is missing: cargo build"
    mkdir -p "$out/etc/ssl/certs" "$out/usr/local/bin" "$out/usr/share/doc/spop-bridge" "$out/run" "$work/build/socket"
    strip -o "$out/usr/local/bin/spop-bridge" "$bridge"
    cp /etc/ssl/certs/ca-certificates.crt "$out/etc/ssl/certs/"
    cp "$repo/LICENSE" "$out/usr/share/doc/spop-bridge/"
    echo 'nonroot:x:65532:65532::/:/usr/sbin/nologin' >"$out/etc/passwd"
    echo 'nonroot:x:65532:' >"$out/etc/group"
    sed -n '/^FROM scratch/,$p' "$repo/deploy/docker/Dockerfile" >"$work/Dockerfile"
    STORAGE_DRIVER=vfs buildah --root "$work/store" --runroot "$work/run" bud --quiet --isolation chroot --pull-never \
        --build-context "build=$work/build" --build-arg VERSION=test -f "$work/Dockerfile" -t spop-bridge:test "$work/build" >/dev/null
    STORAGE_DRIVER=vfs buildah --root "$work/store" --runroot "$work/run" push --quiet spop-bridge:test "oci:$work/oci:test"
}

# A static program has none.
libraries() {
    local root=$1 library
    for library in $(ldd "$root/usr/local/bin/spop-bridge" 2>/dev/null | grep -o '/[^ ]*' || true); do
        install -D "$library" "$root$library"
    done
}

if [ -n "${IMAGE:-}" ]; then
    cp -r "$IMAGE" "$work/oci"
else
    around_built
fi
tag=$(umoci list --layout "$work/oci" | head -n 1)
umoci unpack --image "$work/oci:$tag" "$work/bundle" 2>"$work/log" || { tail -n 3 "$work/log" >&2; die "cannot unpack the image"; }
libraries "$work/bundle/rootfs"
rm -rf "$dest/bundle" "$dest/oci"
mv "$work/oci" "$work/bundle" "$dest/"
echo "$dest/bundle"
