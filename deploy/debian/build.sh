#!/usr/bin/env bash
# Builds the Debian package of the bridge: `make package`. The .deb lands in
# target/package/. It runs on the Debian or Ubuntu release that it was built on,
# and on later ones.
#
#     deploy/debian/build.sh           compiles the release build first
#     BRIDGE=FILE deploy/debian/build.sh    takes this program; if it is one for another machine,
#                                           BRIDGE_HERE=FILE is one that runs here
#
# Needs debhelper and dpkg-dev: apt-get install debhelper dpkg-dev
set -euo pipefail
repo=$(cd "$(dirname "$0")/../.." && pwd -P)
cd "$repo"
target=${CARGO_TARGET_DIR:-$repo/target}

for tool in dh dpkg-buildpackage; do
    command -v "$tool" >/dev/null || { echo "$tool is missing: apt-get install debhelper dpkg-dev" >&2; exit 1; }
done
if [ -z "${BRIDGE:-}" ]; then
    cargo build --release --locked
    BRIDGE=$target/release/spop-bridge
fi
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
# The moment of the last change, so that the same sources make the same package.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tree=$work/spop-bridge-$version
mkdir -p "$tree"/{bin,etc,man,completions}
cp -r deploy/debian "$tree/debian"
rm "$tree/debian/build.sh"
cp deploy/systemd/spop-bridge.{service,sysusers} "$tree/debian/"
cp deploy/systemd/bridge.yaml "$tree/etc/"
cp --parents -r docs deploy/haproxy deploy/systemd/README.md CHANGELOG.md "$tree/"
cp "$BRIDGE" "$tree/bin/spop-bridge"
here=${BRIDGE_HERE:-$BRIDGE}
"$here" man "$tree/man"
"$here" completions bash >"$tree/completions/spop-bridge"
"$here" completions zsh >"$tree/completions/_spop-bridge"
"$here" completions fish >"$tree/completions/spop-bridge.fish"
cat >"$tree/debian/changelog" <<EOF
spop-bridge ($version-1) unstable; urgency=medium

  * Version $version. What is new: changelog.gz beside this file.

 -- spop-bridge maintainers <maintainers@spop-bridge.invalid>  $(date -R --date="@$SOURCE_DATE_EPOCH")
EOF

(cd "$tree" && dpkg-buildpackage --build=binary --no-sign >"$work/log" 2>&1) || { cat "$work/log" >&2; exit 1; }
mkdir -p "$target/package"
mv "$work"/*.deb "$target/package/"
ls "$target/package/spop-bridge_$version-1_"*.deb
