"""The Python service alone, called as the bridge calls it: over a real socket, by its generated client."""

import ipaddress
import os
import signal
import subprocess
import sys
import tempfile
import threading
import unittest

import grpc

import decision_service
from decision_service import pb, pb_grpc

HERE = os.path.dirname(os.path.abspath(__file__))


class Service:
    """The service as its own process, as an operator starts it."""

    def __init__(self, listen):
        command = [sys.executable, os.path.join(HERE, "decision_service.py"), "--listen", listen]
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

    def test_every_kind_of_value_is_read(self):
        read = decision_service.python_value
        self.assertIsNone(read(ABSENT))
        self.assertEqual(read(pb.Value(int64_value=-1)), -1)
        self.assertEqual(str(read(ip("192.0.2.7"))), "192.0.2.7")
        self.assertEqual(read(pb.Value(bytes_value=b"\x00\xff")), b"\x00\xff")


if __name__ == "__main__":
    unittest.main()
