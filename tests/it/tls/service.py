"""A decision service by gRPC's own library, with mutual TLS. Answers `Decide` with the bytes that it is given, and has no `DecideStream`."""

import sys
from concurrent import futures

import grpc

answer, certificate, key, clients = sys.argv[1:]


def read(path):
    with open(path, "rb") as file:
        return file.read()


def decide(_request, context):
    print("peer", sorted(context.peer_identities() or []), context.auth_context().get("security_level"), flush=True)
    return bytes.fromhex(answer)


methods = {"Decide": grpc.unary_unary_rpc_method_handler(decide)}
server = grpc.server(futures.ThreadPoolExecutor(4))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("spopbridge.v1.DecisionService", methods),))
credentials = grpc.ssl_server_credentials([(read(key), read(certificate))], read(clients), require_client_auth=True)
port = server.add_secure_port("127.0.0.1:0", credentials)
server.start()
print(f"listening on localhost:{port}", flush=True)
server.wait_for_termination()
