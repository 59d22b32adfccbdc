"""Both methods of spop-bridge's contract from one function. Copy this file into your service.

    async def decide(request): ...          # a DecideRequest to a DecideResponse
    decisions = Decisions(decide)
    pb_grpc.add_DecisionServiceServicer_to_server(decisions, server)     # of grpc.aio
"""

import asyncio
import contextvars
import logging

import grpc

from spopbridge.v1 import decision_pb2 as pb
from spopbridge.v1 import decision_pb2_grpc as pb_grpc

# Decisions of one stream that may be under way. Beyond it the stream is not read, and the bridge notices.
MAX_IN_FLIGHT = 1000

# W3C trace context of the decision that is being made, by header name. tracing.py continues it.
TRACE_HEADERS = ("traceparent", "tracestate", "baggage")
trace_context = contextvars.ContextVar("trace_context", default={})


class Refused(Exception):
    """There is no decision: the bridge gives HAProxy the route's actions for that failure. A denial is a decision."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code, self.message = code, message


class Decisions(pb_grpc.DecisionServiceServicer):
    """Answers `Decide` and `DecideStream`. On the stream each decision is a task, and answers leave in any order."""

    def __init__(self, decide):
        self.decide = decide
        self.leaving = asyncio.Event()

    def leave(self):
        """Ends each stream as soon as no decision on it is unanswered."""
        self.leaving.set()

    async def Decide(self, request, context):
        trace_context.set({name: value for name, value in context.invocation_metadata() if name in TRACE_HEADERS})
        try:
            return await self.decide(request)
        except Refused as refused:
            await context.abort(refused.code, refused.message)

    async def DecideStream(self, requests, context):
        await context.send_initial_metadata(())  # else the bridge hears nothing before the first answer
        tasks, answers = {}, asyncio.Queue(MAX_IN_FLIGHT)
        ending = asyncio.create_task(self.end(asyncio.create_task(self.read(requests, tasks, answers)), tasks, answers))
        try:
            while (answer := await answers.get()) is not None:
                yield answer
        finally:  # the stream may have broken: nobody waits any more
            for task in [ending, *tasks.values()]:
                task.cancel()

    async def read(self, requests, tasks, answers):
        """Starts what the bridge asks, and cancels what it cancels, until it closes its side."""
        loop = asyncio.get_running_loop()
        async for item in requests:
            decision = item.decision
            if item.WhichOneof("item") == "cancel" and item.cancel.id in tasks:
                tasks[item.cancel.id].cancel()
            elif item.WhichOneof("item") == "decision" and decision.id not in tasks:
                task = tasks[decision.id] = asyncio.create_task(self.answer(decision, answers))
                task.add_done_callback(lambda _, id=decision.id: tasks.pop(id))
                if decision.remaining_us:  # after that the bridge ignores the answer
                    timer = loop.call_later(decision.remaining_us / 1e6, task.cancel)
                    task.add_done_callback(lambda _, timer=timer: timer.cancel())
            if len(tasks) >= MAX_IN_FLIGHT:
                await asyncio.wait(tasks.values(), return_when=asyncio.FIRST_COMPLETED)

    async def answer(self, decision, answers):
        trace_context.set({name: value for name in TRACE_HEADERS if (value := getattr(decision, name))})
        try:
            answer = pb.DecideStreamResponse(id=decision.id, response=await self.decide(decision.request))
        except Refused as refused:
            answer = failure(decision.id, refused.code, refused.message)
        except Exception as error:  # costs this decision, not the stream
            logging.exception("decision failed")
            answer = failure(decision.id, grpc.StatusCode.UNKNOWN, f"{type(error).__name__}: {error}")
        await answers.put(answer)

    async def end(self, reading, tasks, answers):
        """The bridge closes its side, or the service leaves: what is there is answered, then the stream ends with OK."""
        leaving = asyncio.create_task(self.leaving.wait())
        try:
            await asyncio.wait([reading, leaving], return_when=asyncio.FIRST_COMPLETED)
            while tasks:
                await asyncio.wait(tasks.values())
            await answers.put(None)
        finally:
            reading.cancel()
            leaving.cancel()


def failure(id, code, message):
    return pb.DecideStreamResponse(id=id, error={"code": code.value[0], "message": message})
