#!/usr/bin/env bash
# The example services alone: Python's unittest, `go test`, node:test and JUnit,
# each over real sockets. (The Rust service's tests are in `cargo test`.) What
# setup.sh could not provide is skipped by name; not in CI.
set -euo pipefail
# shellcheck source=tests/tools/lib.sh
. "$(dirname "$0")/lib.sh"

skip() {
    if in_ci; then die "CI=true: nothing may be skipped, but $*"; fi
    say "skipped: $*"
}

if [ -d "$repo/examples/python/gen" ] && [ -x "$cache/python/bin/python" ]; then
    (cd "$repo/examples/python" && "$cache/python/bin/python" -m unittest -v)
else
    skip "examples/python, which has no generated code or no grpcio (tests/tools/setup.sh)"
fi

if [ -d "$repo/examples/go/gen" ] && has go; then
    (cd "$repo/examples/go" && go vet . && go test .)
else
    skip "examples/go, which has no generated code or no go (tests/tools/setup.sh)"
fi

if [ -d "$repo/examples/node/dist" ] && has node; then
    (cd "$repo/examples/node" && node --test dist/*.test.js)
else
    skip "examples/node, which has not been built (tests/tools/setup.sh)"
fi

if [ -f "$repo/examples/java/target/decisions.jar" ] && has mvn; then
    (cd "$repo/examples/java" && mvn -B -ntp -q test)
else
    skip "examples/java, which has not been built (tests/tools/setup.sh)"
fi
