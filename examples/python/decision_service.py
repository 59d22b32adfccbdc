#!/usr/bin/env python3
"""A decision service for spop-bridge: bad addresses, API keys for /admin, a rate limit.

It answers the message `check-request` with the args `ip`, `path` and `token`. ../README.md says what it decides, README.md
how to run it.
"""

import argparse
import asyncio
import ipaddress
import logging
import os
import signal
import sys

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "gen"))
from spopbridge.v1 import decision_pb2 as pb  # noqa: E402
from spopbridge.v1 import decision_pb2_grpc as pb_grpc  # noqa: E402
import checks  # noqa: E402
from decisions import Decisions, Refused  # noqa: E402


class CheckRequest:
    """The decision. Blocklist and keys may be replaced while it decides."""

    def __init__(self, blocklist=None, keys=None, limit=None):
        self.blocklist = blocklist or checks.Blocklist()
        self.keys = keys or checks.Keys()
        self.limit = limit or checks.Limit()

    async def decide(self, request):
        """Decides one NOTIFY of HAProxy. What blocks here, blocks every decision: `await asyncio.to_thread(...)` for that."""
        args = args_of(request, "check-request")
        if args is None:
            return pb.DecideResponse()  # not a question for this service: no opinion
        path = text(args.get("path"))
        if path is None:
            # Costs HAProxy nothing: the bridge answers with the route's actions for `rejected`.
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "check-request came without a path")
        allow, reason, score, retry_after = self.verdict(address(args.get("ip")), path, exact_bytes(args.get("token")))
        actions = [
            set_var("allow", pb.Value(bool_value=allow)),
            set_var("reason", pb.Value(string_value=reason)),
            set_var("score", pb.Value(int64_value=score)),
        ]
        if retry_after:
            actions.append(set_var("retry_after", pb.Value(int64_value=retry_after)))
        return pb.DecideResponse(actions=actions)

    def verdict(self, ip, path, token):
        """The rule itself: (allow, reason, score, retry_after), the score from 0 (harmless) to 100."""
        if entry := self.blocklist.entry(ip):
            return False, f"listed: {entry}", 100, 0
        owner = self.keys.name_of(token)
        # Before keys are judged, so that they cannot be guessed any faster.
        if retry_after := self.limit.take(f"key {owner}" if owner else checks.client_of(ip)):
            return False, "rate limit", 50, retry_after
        # By segments: `//admin` and `/x/../admin` are the same place to most applications.
        if "admin" not in path.lower().split("/"):
            return True, "public path", 0, 0
        if owner:
            return True, "token accepted", 10, 0
        return False, f"admin path without token from {ip or 'unknown'}", 100, 0


def args_of(request, message_name):
    """The args of the first message of that name, by their names; None without such a message."""
    for message in request.messages:
        if message.name == message_name:
            return {arg.name: arg.value for arg in message.args}
    return None


def text(value):
    """None for a sample that HAProxy could not fetch, or that is no text."""
    return value.string_value if value is not None and value.WhichOneof("kind") == "string_value" else None


def exact_bytes(value):
    """The bytes that HAProxy sent, also where they are not UTF-8."""
    if value is None or text(value) is None:
        return None
    return value.raw_string or value.string_value.encode()


def address(value):
    """An address, also one that came as text (`ip=req.hdr(x-real-ip)`)."""
    kind = value.WhichOneof("kind") if value is not None else None
    if kind in ("ipv4_value", "ipv6_value"):
        return checks.address(str(ipaddress.ip_address(getattr(value, kind))))
    return checks.address(value.string_value) if kind == "string_value" else None


def set_var(name, value):
    """Sets txn.<option var-prefix>.<name> in HAProxy."""
    return pb.Action(set_var=pb.SetVar(scope=pb.VAR_SCOPE_TRANSACTION, name=name, value=value))


async def serve(listen, decide, watched=()):
    """Serves on `host:port` or `unix:path` until SIGTERM or Ctrl-C."""
    stop = asyncio.Event()
    for told in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(told, stop.set)
    watching = [asyncio.create_task(each) for each in watched]
    decisions, healthy = Decisions(decide), health.aio.HealthServicer()
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    pb_grpc.add_DecisionServiceServicer_to_server(decisions, server)
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    for name in ("", "spopbridge.v1.DecisionService"):
        await healthy.set(name, health_pb2.HealthCheckResponse.SERVING)
    port = server.add_insecure_port(listen)
    await server.start()
    address = listen if listen.startswith("unix:") else f"{listen.rpartition(':')[0]}:{port}"
    print(f"listening on {address}", flush=True)
    await stop.wait()
    await healthy.enter_graceful_shutdown()  # NOT_SERVING: bridges that ask for it go elsewhere
    await asyncio.sleep(0.5)
    # GOAWAY: bridges get a second to go elsewhere. Then streams end once they are quiet, and five seconds are all there is.
    stopping = asyncio.create_task(server.stop(grace=5))
    await asyncio.wait([stopping], timeout=1)
    decisions.leave()
    await stopping
    for task in watching:
        task.cancel()


def options():
    parser = argparse.ArgumentParser(description="Example decision service for spop-bridge.", allow_abbrev=False)
    parser.add_argument("--listen", default="127.0.0.1:50051", metavar="ADDR",
                        help="host:port (port 0: any free one) or unix:path, default %(default)s")
    parser.add_argument("--blocklist", metavar="FILE", help="addresses and networks to refuse, one a line; read again when it changes")
    parser.add_argument("--keys", metavar="FILE",
                        help="lines `name sha256-of-key`; read again when it changes; default: the key let-me-in")
    parser.add_argument("--rate", type=float, default=0, metavar="N", help="requests a second for each client, default: no limit")
    parser.add_argument("--burst", type=float, metavar="N", help="requests at once for each client, default: --rate, at least 1")
    options = parser.parse_args()
    if not 0 <= options.rate < float("inf") or options.burst is not None and not 1 <= options.burst < float("inf"):
        parser.error("--rate must be at least 0, --burst at least 1")
    return options


def main():
    given = options()
    logging.basicConfig(format="%(message)s")
    rule = CheckRequest(limit=checks.Limit(given.rate, given.burst))
    try:
        watched = [
            checks.Watched(path, parse, lambda value, name=name: setattr(rule, name, value)).watch()
            for name, path, parse in (("blocklist", given.blocklist, checks.Blocklist), ("keys", given.keys, checks.Keys))
            if path
        ]
    except checks.BadFile as error:
        sys.exit(str(error))
    decide = rule.decide
    if os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        from tracing import traced  # needs requirements-tracing.txt
        decide = traced(decide)
    try:
        asyncio.run(serve(given.listen, decide, watched))
    except RuntimeError as error:
        sys.exit(f"cannot listen on {given.listen}: {error}")


if __name__ == "__main__":
    main()
