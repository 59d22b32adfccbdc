#!/usr/bin/env bash
# What tests/image needs: buildah, umoci, runc and systemd-analyze by apt, Helm, and a venv with
# hadolint and PyYAML in .cache/image/venv.
#
# Exit codes: 0 there, 1 could not be had (the reason is on stderr).
set -euo pipefail
# shellcheck source=tests/tools/lib.sh
. "$(dirname "$0")/lib.sh"
venv=$cache/image/venv
requirements=$repo/tests/image/requirements.txt

packages=()
for tool in buildah umoci runc; do has "$tool" || packages+=("$tool"); done
has systemd-analyze || packages+=(systemd)
has readelf && has strip || packages+=(binutils)
# The profile of system calls that container runtimes have as their default.
[ -r /usr/share/containers/seccomp.json ] || packages+=(golang-github-containers-common)
[ ${#packages[@]} -eq 0 ] || apt_install "${packages[@]}" || die "the tests of the image need ${packages[*]}"

"$tools/get-kubernetes-tools.sh" >/dev/null || die "the tests of the image need Helm, to render the pods that they run"

if ! fresh "$venv/.stamp" "$requirements" || ! "$venv/bin/python" -c '' 2>/dev/null; then
    say "installing the Python packages of tests/image"
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$requirements"
    stamp "$venv/.stamp" "$requirements"
fi
echo "$venv"
