#!/usr/bin/env bash
# `make test-image`: the image, the chart's pods run by runc, the systemd unit.
# Arguments go to unittest, for example test_pods.Sidecar.
set -euo pipefail
# shellcheck source=tests/tools/lib.sh
. "$(dirname "$0")/lib.sh"

if [ "$(id -u)" != 0 ] || [ "$(uname -sm)" != "Linux x86_64" ]; then
    if in_ci; then die "CI=true: nothing may be skipped, but only root can run pods, and only on Linux on x86_64"; fi
    say "skipped: only root can run pods, and only on Linux on x86_64"
    exit 0
fi
venv=$("$tools/get-image-tools.sh")
"$tools/build-test-image.sh" >/dev/null
cd "$repo/tests/image"
PYTHONDONTWRITEBYTECODE=1 "$venv/bin/python" -m unittest -v "$@"
