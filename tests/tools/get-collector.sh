#!/usr/bin/env bash
# Builds the OpenTelemetry Collector of tests/tools/collector into
# .cache/go/collector: about two minutes of CPU time with nothing built before.
#
# It needs a newer Go than Debian 12 has. An older one fetches that by itself,
# from where it has its modules: Go 1.21 and later by GOTOOLCHAIN, before that
# the same module is downloaded and put together here.
#
# The path is the last line on stdout. A second call only prints it.
#
# Exit codes: 0 there, 1 could not be had (the reason is on stderr).
set -euo pipefail
# shellcheck source=tests/tools/lib.sh
. "$(dirname "$0")/lib.sh"
source=$tools/collector
binary=$cache/go/collector
log=$cache/go-collector.log
# What is fetched where Go is too old.
toolchain=go1.25.5

if [ -x "$binary" ] && fresh "$binary.stamp" "$source"/*.go "$source"/go.*; then echo "$binary"; exit 0; fi

# A Go before 1.21 does not know of toolchains; their module it can download.
old_go_fetches_new() {
    local system module dir dest=$cache/go/$toolchain
    if [ ! -x "$dest/bin/go" ]; then
        system=$(go env GOOS)-$(go env GOARCH)
        module=golang.org/toolchain@v0.0.1-$toolchain.$system
        say "this Go is too old for the Collector: fetching $toolchain, 60 MB" >&2
        (cd / && go mod download "$module")
        dir=$(go env GOMODCACHE)/$module
        rm -rf "$dest.new" && cp -r "$dir" "$dest.new" && chmod -R u+w "$dest.new"
        # What a module cannot hold: rights, and modules in it.
        chmod +x "$dest.new"/bin/* "$dest.new"/pkg/tool/*/*
        find "$dest.new" -name _go.mod -execdir mv {} go.mod \;
        mv "$dest.new" "$dest"
    fi
    PATH=$dest/bin:$PATH GOROOT=$dest GOTOOLCHAIN=local build
}
build() { (cd "$source" && go build -p 2 -trimpath -ldflags='-s -w' -o "$binary" .); }

minor=$(go version | sed -nE 's/.*go1\.([0-9]+).*/\1/p')
needed=$(sed -nE 's/^go 1\.([0-9]+).*/\1/p' "$source/go.mod")
say "building the OpenTelemetry Collector, which takes minutes the first time"
mkdir -p "$cache/go"
if ! {
    if [ "${minor:-0}" -ge "$needed" ]; then build
    elif [ "${minor:-0}" -ge 21 ]; then GOTOOLCHAIN=$toolchain build
    else old_go_fetches_new
    fi
} >"$log" 2>&1; then
    tail -n 5 "$log" >&2
    die "the Collector cannot be built (is the network there? all of go's words: $log)"
fi
stamp "$binary.stamp" "$source"/*.go "$source"/go.*
echo "$binary"
