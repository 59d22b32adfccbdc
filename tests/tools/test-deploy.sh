#!/usr/bin/env bash
# Tests of deploy/ for Kubernetes, without a cluster: Helm 3 and 4, kubectl's
# kustomize, schemas, `spop-bridge check`, `haproxy -c`, promtool. What setup.sh
# could not provide is skipped by name; not in CI.
set -euo pipefail
# shellcheck source=tests/tools/lib.sh
. "$(dirname "$0")/lib.sh"

skip() {
    if in_ci; then die "CI=true: nothing may be skipped, but $*"; fi
    say "skipped: $*"
    exit 0
}

for tool in helm3 helm4 kubectl; do
    [ -x "$cache/kubernetes/$tool" ] || skip "tests/deploy, for which $tool is missing (tests/tools/setup.sh)"
done
[ -x "$cache/deploy/bin/python" ] || skip "tests/deploy, whose Python packages are missing (tests/tools/setup.sh)"
has openssl || skip "tests/deploy, for which openssl is missing"

cd "$repo/tests/deploy"
exec "$cache/deploy/bin/python" -m unittest "$@"
