#!/usr/bin/env bash
# Generates the TypeScript types of the contract into src/gen/. The program reads the contract itself when it starts.
set -euo pipefail
cd "$(dirname "$0")"
proto=../../proto
contract=spopbridge/v1/decision.proto

stamp="$(cat "$proto/$contract" generate.sh package.json | cksum)"
[ "$(cat src/gen/.stamp 2>/dev/null || true)" != "$stamp" ] || exit 0

rm -rf src/gen
# The options are those of contract.ts.
node_modules/.bin/proto-loader-gen-types --grpcLib=@grpc/grpc-js --longs=String --enums=String --defaults --oneofs \
    --includeDirs="$proto" --outDir=src/gen "$contract"
echo "$stamp" > src/gen/.stamp
