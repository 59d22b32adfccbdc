#!/usr/bin/env bash
# The example services alone: Python's unittest and `go test`, each over real
# sockets. What setup.sh could not provide is skipped by name; not in CI.
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
