"""The Python service alone, called as the bridge calls it: over a real socket, by its generated client."""

import ipaddress
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import unittest

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

import decision_service
from decision_service import pb, pb_grpc

HERE = os.path.dirname(os.path.abspath(__file__))


class Service:
    """The service as its own process, as an operator starts it."""

    def __init__(self, listen, *flags):
        command = [sys.executable, os.path.join(HERE, "decision_service.py"), "--listen", listen, *flags]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline().strip()
        assert line.startswith("listening on "), f"the service said {line!r}"
        self.address = line.removeprefix("listening on ")

    def __enter__(self):
        self.channel = grpc.insecure_channel(self.address)
        self.stub = pb_grpc.DecisionServiceStub(self.channel)
        self.decide = self.stub.Decide
        return self

    def __exit__(self, *_):
        self.channel.close()
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def ask(self, **values):
        response = self.decide(check_request(**values), timeout=10)
        return {action.set_var.name: action.set_var.value for action in response.actions}


def check_request(**values):
    args = [pb.Arg(name=name, value=value) for name, value in values.items()]
    return pb.DecideRequest(origin=pb.Origin(listener="test"), messages=[pb.Message(name="check-request", args=args)])


def ip(text):
    address = ipaddress.ip_address(text)
    return pb.Value(ipv4_value=address.packed) if address.version == 4 else pb.Value(ipv6_value=address.packed)


def text(value):
    return pb.Value(string_value=value)


def value_of(arg):
    """An arg as conformance.json has it: `kind:text`, or None."""
    kind, _, content = (arg or "").partition(":")
    if arg is None:
        return ABSENT
    return ip(content) if kind in ("ipv4", "ipv6") else text(content if kind == "string" else arg)


ABSENT = pb.Value(null_value=pb.NULL_VALUE_UNSPECIFIED)


class DecisionServiceTest(unittest.TestCase):
    def test_a_public_path_is_allowed(self):
        with Service("127.0.0.1:0") as service:
            answer = service.ask(ip=ip("192.0.2.7"), path=text("/"), token=ABSENT)
        self.assertTrue(answer["allow"].bool_value)
        self.assertEqual(answer["reason"].string_value, "public path")
        self.assertEqual(answer["score"].int64_value, 0)

    def test_admin_needs_the_token(self):
        with Service("127.0.0.1:0") as service:
            without = service.ask(ip=ip("2001:db8::1"), path=text("/admin/users"), token=ABSENT)
            wrong = service.ask(ip=ip("192.0.2.7"), path=text("/admin"), token=text("guess"))
            right = service.ask(ip=ip("192.0.2.7"), path=text("/admin"), token=text("let-me-in"))
        self.assertFalse(without["allow"].bool_value)
        self.assertEqual(without["reason"].string_value, "admin path without token from 2001:db8::1")
        self.assertEqual(without["score"].int64_value, 100)
        self.assertFalse(wrong["allow"].bool_value)
        self.assertTrue(right["allow"].bool_value)

    def test_it_listens_on_a_unix_socket(self):
        with tempfile.TemporaryDirectory() as folder, Service(f"unix:{folder}/decisions.sock") as service:
            self.assertTrue(service.ask(path=text("/administrator"))["allow"].bool_value)

    def test_a_request_without_a_path_is_refused(self):
        with Service("127.0.0.1:0") as service, self.assertRaises(grpc.RpcError) as caught:
            service.ask(ip=ip("192.0.2.7"), path=ABSENT)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)

    def test_the_stream_decides_the_same(self):
        decisions = [pb.Decision(id=1, remaining_us=10_000_000, request=check_request(path=text("/"))),
                     pb.Decision(id=2, remaining_us=10_000_000, request=check_request(path=ABSENT))]
        with Service("127.0.0.1:0") as service:
            stream = service.stub.DecideStream(pb.DecideStreamRequest(decision=decision) for decision in decisions)
            answers = {answer.id: answer for answer in stream}
        self.assertTrue(answers[1].response.actions[0].set_var.value.bool_value)
        self.assertEqual(answers[2].error.code, grpc.StatusCode.INVALID_ARGUMENT.value[0])

    def test_it_has_no_opinion_on_other_messages(self):
        other = pb.DecideRequest(messages=[pb.Message(name="check-body")])
        with Service("127.0.0.1:0") as service:
            self.assertEqual(service.decide(other, timeout=10), pb.DecideResponse())

    def test_sigterm_ends_it_well(self):
        with Service("127.0.0.1:0") as service:
            service.ask(path=text("/"))
            service.process.send_signal(signal.SIGTERM)
            self.assertEqual(service.process.wait(timeout=10), 0)

    def test_sigterm_ends_streams_too(self):
        item = pb.DecideStreamRequest(decision=pb.Decision(id=1, request=check_request(path=text("/"))))
        still_open = threading.Event()
        self.addCleanup(still_open.set)

        def items():
            yield item
            still_open.wait(20)

        with Service("127.0.0.1:0") as service:
            answers = service.stub.DecideStream(items())
            self.assertEqual(next(answers).id, 1)
            service.process.send_signal(signal.SIGTERM)
            self.assertEqual(list(answers), [])  # and no error: the end with OK
            self.assertEqual(service.process.wait(timeout=10), 0)

    def test_it_says_serving_and_then_not_serving(self):
        with Service("127.0.0.1:0") as service:
            health = health_pb2_grpc.HealthStub(service.channel)
            for name in ("", "spopbridge.v1.DecisionService"):
                answer = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=10)
                self.assertEqual(answer.status, health_pb2.HealthCheckResponse.SERVING)
            watch = health.Watch(health_pb2.HealthCheckRequest())
            self.assertEqual(next(watch).status, health_pb2.HealthCheckResponse.SERVING)
            service.process.send_signal(signal.SIGTERM)
            self.assertEqual(next(watch).status, health_pb2.HealthCheckResponse.NOT_SERVING)
            watch.cancel()
            self.assertEqual(service.process.wait(timeout=10), 0)

    def test_it_decides_as_the_others(self):
        with open(os.path.join(HERE, "..", "conformance.json"), encoding="utf-8") as file:
            conformance = json.load(file)
        with tempfile.TemporaryDirectory() as folder:
            flags = []
            for name in ("blocklist", "keys"):
                path = os.path.join(folder, name)
                with open(path, "w", encoding="utf-8") as file:
                    file.write("\n".join(conformance[name]))
                flags += [f"--{name}", path]
            with Service("127.0.0.1:0", *flags) as service:
                for case in conformance["decisions"]:
                    answer = service.ask(**{name: value_of(arg) for name, arg in case["args"].items()})
                    decided = answer["allow"].bool_value, answer["reason"].string_value, answer["score"].int64_value
                    self.assertEqual(decided, (case["allow"], case["reason"], case["score"]), case["what"])

    def test_an_empty_bucket_says_when_to_come_again(self):
        with Service("127.0.0.1:0", "--rate", "0.01", "--burst", "2") as service:
            answers = [service.ask(ip=ip("192.0.2.7"), path=text("/")) for _ in range(3)]
            other = service.ask(ip=ip("192.0.2.8"), path=text("/"))
            by_key = service.ask(ip=ip("192.0.2.7"), path=text("/"), token=text("let-me-in"))
        self.assertEqual([answer["allow"].bool_value for answer in [*answers, other, by_key]], [True, True, False, True, True])
        self.assertNotIn("retry_after", answers[1])
        self.assertEqual((answers[2]["reason"].string_value, answers[2]["score"].int64_value), ("rate limit", 50))
        self.assertTrue(90 <= answers[2]["retry_after"].int64_value <= 100)

    def test_bytes_that_are_not_utf8_are_no_key(self):
        with Service("127.0.0.1:0") as service:
            fooled = pb.Value(string_value="let-me-in", raw_string=b"let-me-in\xff")
            self.assertFalse(service.ask(path=text("/admin"), token=fooled)["allow"].bool_value)

    def test_a_bad_file_ends_it_at_the_start(self):
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            file.write("192.0.2.1\nnonsense\n")
            file.flush()
            command = [sys.executable, decision_service.__file__, "--blocklist", file.name]
            ended = subprocess.run(command, capture_output=True, text=True, timeout=30)
        self.assertEqual(ended.returncode, 1)
        self.assertIn(f"{file.name}:2: not an address", ended.stderr)


if __name__ == "__main__":
    unittest.main()
