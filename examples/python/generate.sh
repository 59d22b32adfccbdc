#!/usr/bin/env bash
# Generates the Python code of the contract into gen/, with protoc as it comes
# in the grpcio-tools package. PYTHON is the interpreter that has that package;
# nothing is done when gen/ is newer than the contract.
set -euo pipefail
cd "$(dirname "$0")"
python=${PYTHON:-python3}
proto=../../proto
contract=spopbridge/v1/decision.proto

stamp="$(cat "$proto/$contract" generate.sh requirements.txt | cksum)"
[ "$(cat gen/.stamp 2>/dev/null || true)" != "$stamp" ] || exit 0

rm -rf gen
mkdir gen
# google/rpc/status.proto is not generated: googleapis-common-protos has it.
"$python" -m grpc_tools.protoc -I "$proto" --python_out=gen --pyi_out=gen --grpc_python_out=gen "$contract"
echo "$stamp" > gen/.stamp
