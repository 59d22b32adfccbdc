// Both methods from one function, as decisions.ts has them: a real server and a real client, one stream at a time.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Server, ServerCredentials, credentials, status } from '@grpc/grpc-js';
import type { ServiceError } from '@grpc/grpc-js';

import { DecisionService } from './contract';
import { Decisions, Refused } from './decisions';
import type { Asked } from './decisions';
import type { DecideRequest__Output } from './gen/spopbridge/v1/DecideRequest';
import type { DecideResponse, DecideResponse__Output } from './gen/spopbridge/v1/DecideResponse';
import type { DecideStreamRequest } from './gen/spopbridge/v1/DecideStreamRequest';
import type { DecideStreamResponse__Output } from './gen/spopbridge/v1/DecideStreamResponse';

const PATIENCE = 20_000;

/** Decides what the name of the first message says, and knows what is under way. */
class Desk {
  open = 0;
  begun = 0;
  release: () => void = () => {};
  private readonly released = new Promise<void>((release) => (this.release = release));

  readonly decide = async (request: DecideRequest__Output, { signal, trace }: Asked): Promise<DecideResponse> => {
    this.open += 1;
    this.begun += 1;
    try {
      const [what, detail] = request.messages[0]!.name.split(' ');
      if (what === 'wait') await sleep(Number(detail) * 1000, undefined, { signal });
      if (what === 'hold') await Promise.race([this.released, once(signal, 'abort')]);
      if (what === 'refuse') throw new Refused(status.RESOURCE_EXHAUSTED, 'too much');
      if (what === 'throw') throw new RangeError('a bug');
      const echo = what === 'trace' ? trace.traceparent : what;
      return { actions: [{ setVar: { name: 'echo', value: { stringValue: echo } } }] };
    } finally {
      this.open -= 1;
    }
  };
}

const request = (what: string) => ({ messages: [{ name: what }] });

const decision = (id: number, what: string, remaining = 60): DecideStreamRequest => ({
  decision: { id, remainingUs: remaining * 1e6, request: request(what), traceparent: `of ${id}` },
});

async function converse(t: TestContext, maxInFlight?: number) {
  const desk = new Desk();
  const decisions = new Decisions(desk.decide, maxInFlight);
  const server = new Server();
  server.addService(DecisionService.service, decisions.handlers);
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) => (error ? reject(error) : resolve(port))),
  );
  const client = new DecisionService(`127.0.0.1:${port}`, credentials.createInsecure());
  const stream = client.DecideStream();
  const answers: DecideStreamResponse__Output[] = [];
  let ended: number | undefined;
  stream.on('data', (answer: DecideStreamResponse__Output) => answers.push(answer));
  stream.on('status', ({ code }) => (ended = code));
  stream.on('error', () => {});
  t.after(() => {
    stream.cancel();
    client.close();
    server.forceShutdown();
  });
  const until = async (what: string, condition: () => boolean) => {
    for (let waited = 0; !condition(); waited += 5) {
      assert.ok(waited < PATIENCE, what);
      await sleep(5);
    }
  };
  return {
    desk,
    decisions,
    server,
    stream,
    until,
    ask: (...items: DecideStreamRequest[]) => items.forEach((item) => stream.write(item)),
    next: async () => {
      await until('an answer', () => answers.length > 0);
      return answers.shift()!;
    },
    endsWell: async () => {
      await until('the stream ends', () => ended !== undefined);
      assert.equal(ended, status.OK);
      assert.deepEqual(answers, []);
    },
    call: (what: string) =>
      new Promise<DecideResponse__Output>((resolve, reject) =>
        client.Decide(request(what), (error, response) => (error ? reject(error) : resolve(response!))),
      ),
    client,
  };
}

test('both methods decide the same', async (t) => {
  const { ask, next, call } = await converse(t);
  ask(decision(7, 'now'));
  const { id, response } = await next();
  assert.equal(id, '7');
  assert.deepEqual(response, await call('now'));
});

test('the stream opens before its first answer', async (t) => {
  const { stream } = await converse(t);
  await once(stream, 'metadata');
});

test('a slow decision holds up none', async (t) => {
  const { ask, next } = await converse(t);
  ask(decision(1, 'wait 0.6'), decision(2, 'wait 0.3'), decision(3, 'now'));
  assert.deepEqual([(await next()).id, (await next()).id, (await next()).id], ['3', '2', '1']);
});

test('failures cost one decision each', async (t) => {
  const log = t.mock.method(console, 'error', () => {});
  const { ask, next, call } = await converse(t);
  ask(decision(1, 'refuse'), decision(2, 'throw'), decision(3, 'now'));
  const answers = new Map([await next(), await next(), await next()].map((answer) => [answer.id, answer]));
  const error = (id: string) => [answers.get(id)?.error?.code, answers.get(id)?.error?.message];
  assert.deepEqual(error('1'), [status.RESOURCE_EXHAUSTED, 'too much']);
  assert.deepEqual(error('2'), [status.UNKNOWN, 'RangeError: a bug']);
  assert.equal(answers.get('3')?.result, 'response');
  await assert.rejects(call('refuse'), { code: status.RESOURCE_EXHAUSTED, details: 'too much' });
  await assert.rejects(call('throw'), { code: status.UNKNOWN });
  assert.equal(log.mock.callCount(), 2, 'what is a bug is said');
});

test('the trace context arrives', async (t) => {
  const { ask, next } = await converse(t);
  ask(decision(4, 'trace'));
  assert.equal((await next()).response?.actions[0]?.setVar?.value?.stringValue, 'of 4');
});

test('cancel and deadline end decisions without an answer', async (t) => {
  const { ask, next, until, desk, stream, endsWell } = await converse(t);
  ask(decision(1, 'hold'), decision(2, 'hold', 0.1), decision(3, 'hold'));
  await until('all are under way', () => desk.begun === 3);
  ask({ cancel: { id: 1 } });
  await until('two are dropped', () => desk.open === 1);
  desk.release();
  assert.equal((await next()).id, '3');
  stream.end();
  await endsWell();
});

test('a call that is cancelled is told so', async (t) => {
  const { client, desk, until } = await converse(t);
  const call = client.Decide(request('hold'), (_: ServiceError | null) => {});
  await until('it is under way', () => desk.open === 1);
  call.cancel();
  await until('it is dropped', () => desk.open === 0);
  client.Decide(request('hold'), { deadline: Date.now() + 100 }, () => {});
  await until('the next is under way', () => desk.begun === 2);
  await until('it ends at its deadline', () => desk.open === 0);
});

test('what it does not know is ignored', async (t) => {
  const { ask, next, stream, endsWell } = await converse(t);
  ask({}, { cancel: { id: 9 } }, decision(1, 'wait 0.2'), decision(1, 'now'));
  assert.equal((await next()).id, '1');
  stream.end();
  await endsWell();
});

test('when the bridge closes its side the rest is answered', async (t) => {
  const { ask, next, stream, endsWell } = await converse(t);
  ask(decision(1, 'wait 0.3'), decision(2, 'now'));
  stream.end();
  assert.deepEqual([(await next()).id, (await next()).id], ['2', '1']);
  await endsWell();
});

test('a service that leaves answers what it has', async (t) => {
  const { ask, next, until, desk, decisions, endsWell } = await converse(t);
  ask(decision(1, 'hold'));
  await until('it is under way', () => desk.open === 1);
  decisions.leave();
  ask(decision(2, 'now'));
  assert.equal((await next()).id, '2');
  desk.release();
  assert.equal((await next()).id, '1');
  await endsWell();
});

test('a stream that breaks takes its decisions along', async (t) => {
  const { ask, until, desk, stream } = await converse(t);
  for (let id = 1; id <= 20; id++) ask(decision(id, 'hold'));
  await until('all are under way', () => desk.open === 20);
  stream.cancel();
  await until('all are dropped', () => desk.open === 0);
});

test('beyond its bound a stream is not read', async (t) => {
  const { ask, next, until, desk, stream, endsWell } = await converse(t, 8);
  for (let id = 1; id <= 100; id++) ask(decision(id, 'hold'));
  stream.end();
  await until('the bound is reached', () => desk.open === 8);
  await sleep(200);
  assert.equal(desk.begun, 8);
  desk.release();
  const answered = new Set<string>();
  while (answered.size < 100) answered.add((await next()).id);
  await endsWell();
});
