#!/usr/bin/env bash
# Generates the Go code of the contract into gen/. protoc is the one inside
# Python's grpcio-tools (or PROTOC, if set); its two Go plugins are built in
# the versions that go.mod pins. Nothing is done when gen/ is up to date.
set -euo pipefail
cd "$(dirname "$0")"
proto=../../proto
contract=spopbridge/v1/decision.proto
module=example.com/decisions
read -ra protoc <<< "${PROTOC:-${PYTHON:-python3} -m grpc_tools.protoc}"

stamp="$(cat "$proto/$contract" generate.sh go.mod | cksum)"
[ "$(cat gen/.stamp 2>/dev/null || true)" != "$stamp" ] || exit 0

mkdir -p bin
go build -o bin/protoc-gen-go google.golang.org/protobuf/cmd/protoc-gen-go
go build -o bin/protoc-gen-go-grpc google.golang.org/grpc/cmd/protoc-gen-go-grpc

rm -rf gen
mkdir gen
# google.rpc.Status is not generated: Go's genproto has it.
map=Mspopbridge/v1/decision.proto=$module/gen/spopbridge/v1
map=$map,Mgoogle/rpc/status.proto=google.golang.org/genproto/googleapis/rpc/status
PATH=$PWD/bin:$PATH "${protoc[@]}" -I "$proto" \
    --go_out=. --go_opt="module=$module,$map" \
    --go-grpc_out=. --go-grpc_opt="module=$module,$map" \
    "$contract"
echo "$stamp" > gen/.stamp
