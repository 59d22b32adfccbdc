#!/usr/bin/env python3
"""A decision service for spop-bridge: who may see what lies under /admin.

It answers the message `check-request` with the args `ip`, `path` and `token`:
paths under /admin need the token. See README.md for how to run it.
"""

import argparse
import asyncio
import ipaddress
import os
import signal
import sys

import grpc

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "gen"))
from spopbridge.v1 import decision_pb2 as pb  # noqa: E402
from spopbridge.v1 import decision_pb2_grpc as pb_grpc  # noqa: E402
from decisions import Decisions, Refused  # noqa: E402

TOKEN = "let-me-in"


async def decide(request):
    """Decides one NOTIFY of HAProxy. What blocks here, blocks every decision: `await asyncio.to_thread(...)` for that."""
    args = args_of(request, "check-request")
    if args is None:
        return pb.DecideResponse()  # not a question for this service: no opinion
    if args.get("path") is None:
        # Costs HAProxy nothing: the bridge answers with the route's actions for `rejected`.
        raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "check-request came without a path")
    allow, reason, score = verdict(args.get("ip"), args["path"], args.get("token"))
    return pb.DecideResponse(actions=[
        set_var("allow", pb.Value(bool_value=allow)),
        set_var("reason", pb.Value(string_value=reason)),
        set_var("score", pb.Value(int64_value=score)),
    ])


def verdict(ip, path, token):
    """The rule itself: (allow, reason, score), the score from 0 (harmless) to 100."""
    if path != "/admin" and not path.startswith("/admin/"):
        return True, "public path", 0
    if token == TOKEN:
        return True, "token accepted", 10
    return False, f"admin path without token from {ip or 'unknown'}", 100


def args_of(request, message_name):
    """The args of the first message of that name, by their names; None without such a message."""
    for message in request.messages:
        if message.name == message_name:
            return {arg.name: python_value(arg.value) for arg in message.args}
    return None


def python_value(value):
    """None for a sample that HAProxy could not fetch, an address object for an IP, else the plain value."""
    kind = value.WhichOneof("kind")
    if kind is None or kind == "null_value":
        return None
    plain = getattr(value, kind)
    return ipaddress.ip_address(plain) if kind in ("ipv4_value", "ipv6_value") else plain


def set_var(name, value):
    """Sets txn.<option var-prefix>.<name> in HAProxy."""
    return pb.Action(set_var=pb.SetVar(scope=pb.VAR_SCOPE_TRANSACTION, name=name, value=value))


async def serve(listen, decide):
    """Serves on `host:port` or `unix:path` until SIGTERM or Ctrl-C."""
    stop = asyncio.Event()
    for told in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(told, stop.set)
    decisions = Decisions(decide)
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    pb_grpc.add_DecisionServiceServicer_to_server(decisions, server)
    port = server.add_insecure_port(listen)
    await server.start()
    address = listen if listen.startswith("unix:") else f"{listen.rpartition(':')[0]}:{port}"
    print(f"listening on {address}", flush=True)
    await stop.wait()
    # GOAWAY: bridges get a second to go elsewhere. Then streams end once they are quiet, and five seconds are all there is.
    stopping = asyncio.create_task(server.stop(grace=5))
    await asyncio.wait([stopping], timeout=1)
    decisions.leave()
    await stopping


def main():
    parser = argparse.ArgumentParser(description="Example decision service for spop-bridge.")
    parser.add_argument("--listen", default="127.0.0.1:50051", metavar="ADDR",
                        help="host:port (port 0: any free one) or unix:path, default %(default)s")
    options = parser.parse_args()
    rule = decide
    if os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        from tracing import traced  # needs requirements-tracing.txt
        rule = traced(decide)
    try:
        asyncio.run(serve(options.listen, rule))
    except RuntimeError as error:
        sys.exit(f"cannot listen on {options.listen}: {error}")


if __name__ == "__main__":
    main()
