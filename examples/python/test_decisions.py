"""Both methods from one function, as decisions.py has them: a real server and a real client, one stream at a time."""

import asyncio
import logging
import unittest

import grpc

import decision_service  # noqa: F401  puts the generated code on the path
import decisions
from decision_service import pb, pb_grpc

PATIENCE = 20


class Desk:
    """Decides what the name of the first message says, and knows what is under way."""

    def __init__(self):
        self.open, self.begun, self.release = 0, 0, asyncio.Event()

    async def decide(self, request):
        self.open, self.begun = self.open + 1, self.begun + 1
        try:
            what, _, detail = request.messages[0].name.partition(" ")
            if what == "wait":
                await asyncio.sleep(float(detail))
            elif what == "hold":
                await self.release.wait()
            elif what == "refuse":
                raise decisions.Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "too much")
            elif what == "raise":
                raise ValueError("a bug")
            return pb.DecideResponse(actions=[decision_service.set_var("echo", pb.Value(string_value=what))])
        finally:
            self.open -= 1


def request(what):
    return pb.DecideRequest(messages=[pb.Message(name=what)])


def decision(id, what, remaining_us=60_000_000):
    return pb.DecideStreamRequest(decision=pb.Decision(id=id, remaining_us=remaining_us, request=request(what)))


class DecisionsTest(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.desk = Desk()
        self.decisions = decisions.Decisions(self.desk.decide)
        self.server = grpc.aio.server()
        pb_grpc.add_DecisionServiceServicer_to_server(self.decisions, self.server)
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}")
        self.stub = pb_grpc.DecisionServiceStub(self.channel)
        await self.server.start()
        self.stream = self.stub.DecideStream()

    async def asyncTearDown(self):
        self.stream.cancel()
        await self.channel.close()
        await self.server.stop(None)

    async def ask(self, *items):
        for item in items:
            await asyncio.wait_for(self.stream.write(item), PATIENCE)

    async def next(self):
        """None at the end of the stream."""
        answer = await asyncio.wait_for(self.stream.read(), PATIENCE)
        return None if answer is grpc.aio.EOF else answer

    async def until(self, what, condition):
        for _ in range(PATIENCE * 200):
            if condition():
                return
            await asyncio.sleep(0.005)
        self.fail(what)

    async def assert_ends_well(self):
        self.assertIsNone(await self.next())
        self.assertEqual(await self.stream.code(), grpc.StatusCode.OK)

    async def test_both_methods_decide_the_same(self):
        called = await self.stub.Decide(request("now"), timeout=PATIENCE)
        await self.ask(decision(7, "now"))
        streamed = await self.next()
        self.assertEqual((streamed.id, streamed.response), (7, called))

    async def test_the_stream_opens_before_its_first_answer(self):
        await asyncio.wait_for(self.stream.initial_metadata(), PATIENCE)

    async def test_a_slow_decision_holds_up_none(self):
        await self.ask(decision(1, "wait 0.6"), decision(2, "wait 0.3"), decision(3, "now"))
        self.assertEqual([(await self.next()).id for _ in range(3)], [3, 2, 1])

    async def test_failures_cost_one_decision_each(self):
        logging.disable()
        self.addCleanup(logging.disable, logging.NOTSET)
        await self.ask(decision(1, "refuse"), decision(2, "raise"), decision(3, "now"))
        answers = {answer.id: answer for answer in [await self.next() for _ in range(3)]}
        self.assertEqual((answers[1].error.code, answers[1].error.message), (8, "too much"))
        self.assertEqual((answers[2].error.code, answers[2].error.message), (2, "ValueError: a bug"))
        self.assertTrue(answers[3].HasField("response"))
        with self.assertRaises(grpc.aio.AioRpcError) as caught:
            await self.stub.Decide(request("refuse"), timeout=PATIENCE)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)

    async def test_cancel_and_deadline_end_decisions_without_an_answer(self):
        await self.ask(decision(1, "hold"), decision(2, "hold", remaining_us=100_000), decision(3, "hold"))
        await self.until("all are under way", lambda: self.desk.begun == 3)
        await self.ask(pb.DecideStreamRequest(cancel=pb.Cancel(id=1)))
        await self.until("two are dropped", lambda: self.desk.open == 1)
        self.desk.release.set()
        self.assertEqual((await self.next()).id, 3)
        await self.stream.done_writing()
        await self.assert_ends_well()

    async def test_what_it_does_not_know_is_ignored(self):
        await self.ask(pb.DecideStreamRequest(), pb.DecideStreamRequest(cancel=pb.Cancel(id=9)),
                       decision(1, "wait 0.2"), decision(1, "now"))
        self.assertEqual((await self.next()).id, 1)
        await self.stream.done_writing()
        await self.assert_ends_well()

    async def test_when_the_bridge_closes_its_side_the_rest_is_answered(self):
        await self.ask(decision(1, "wait 0.3"), decision(2, "now"))
        await self.stream.done_writing()
        self.assertEqual([(await self.next()).id for _ in range(2)], [2, 1])
        await self.assert_ends_well()

    async def test_a_service_that_leaves_answers_what_it_has(self):
        await self.ask(decision(1, "hold"))
        await self.until("it is under way", lambda: self.desk.open == 1)
        stopping = asyncio.create_task(self.server.stop(PATIENCE))
        self.decisions.leave()
        await self.ask(decision(2, "now"))
        self.assertEqual((await self.next()).id, 2)
        self.desk.release.set()
        self.assertEqual((await self.next()).id, 1)
        await self.assert_ends_well()
        await asyncio.wait_for(stopping, PATIENCE)

    async def test_a_stream_that_breaks_takes_its_decisions_along(self):
        await self.ask(*(decision(id, "hold") for id in range(1, 21)))
        await self.until("all are under way", lambda: self.desk.open == 20)
        self.stream.cancel()
        await self.until("all are dropped", lambda: self.desk.open == 0)

    async def test_beyond_its_bound_a_stream_is_not_read(self):
        self.addCleanup(setattr, decisions, "MAX_IN_FLIGHT", decisions.MAX_IN_FLIGHT)
        decisions.MAX_IN_FLIGHT = 8
        asking = asyncio.create_task(self.ask(*(decision(id, "hold") for id in range(1, 101))))
        await self.until("the bound is reached", lambda: self.desk.open == 8)
        await asyncio.sleep(0.2)
        self.assertEqual(self.desk.begun, 8)
        self.desk.release.set()
        answered = {(await self.next()).id for _ in range(100)}
        self.assertEqual(answered, set(range(1, 101)))
        await asking


if __name__ == "__main__":
    unittest.main()
