#!/usr/bin/env bash
# `make image`: builds spop-bridge:VERSION with docker or buildah, whichever
# works here. Arguments go to its `build`, for example --platform linux/arm64.
#
#     BUILDER=IMAGE     another image to compile in, see Dockerfile
#     SOURCE=URL        where these sources are, for the image's labels
set -euo pipefail
cd "$(dirname "$0")/../.."

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
arguments=(--file deploy/docker/Dockerfile --tag "spop-bridge:$version"
           --build-arg "VERSION=$version" --build-arg "REVISION=$revision" --build-arg "SOURCE=${SOURCE:-unknown}")
if [ -n "${BUILDER:-}" ]; then arguments+=(--build-arg "BUILDER=$BUILDER"); fi

if docker info >/dev/null 2>&1; then
    docker build "${arguments[@]}" "$@" .
elif command -v buildah >/dev/null; then
    buildah build --layers "${arguments[@]}" "$@" .
else
    echo "neither docker with its daemon nor buildah is here: apt-get install buildah" >&2
    exit 1
fi
