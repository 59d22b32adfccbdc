// The service alone, as an operator starts it, called as the bridge calls it: over a real socket.

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { credentials, loadPackageDefinition, status } from '@grpc/grpc-js';
import type { ServiceClientConstructor } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { protoPath } from 'grpc-health-check';

import { conformance, joined, value } from './conformance';
import { DecisionService } from './contract';
import type { DecideResponse__Output } from './gen/spopbridge/v1/DecideResponse';
import type { Value } from './gen/spopbridge/v1/Value';

const MAIN = join(__dirname, 'main.js');

const health = loadPackageDefinition(loadSync(protoPath, { enums: String })) as unknown as {
  grpc: { health: { v1: { Health: ServiceClientConstructor } } };
};

function folder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'decisions-'));
  t.after(() => rmSync(folder, { recursive: true }));
  return folder;
}

function checkRequest(args: Record<string, Value>) {
  return { messages: [{ name: 'check-request', args: Object.entries(args).map(([name, value]) => ({ name, value })) }] };
}

async function start(t: TestContext, ...flags: string[]) {
  const process = spawn('node', [MAIN, '--listen', '127.0.0.1:0', ...flags], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(process, 'exit');
  const [line] = (await once(createInterface(process.stdout), 'line')) as [string];
  assert.match(line, /^listening on /);
  const address = line.replace('listening on ', '');
  const client = new DecisionService(address, credentials.createInsecure());
  t.after(() => {
    client.close();
    process.kill('SIGKILL');
  });
  const decide = (request: object) =>
    new Promise<DecideResponse__Output>((resolve, reject) =>
      client.Decide(request, { deadline: Date.now() + 10_000 }, (error, response) => (error ? reject(error) : resolve(response!))),
    );
  const ask = async (args: Record<string, Value>) => {
    const { actions } = await decide(checkRequest(args));
    const values = new Map(actions.map(({ setVar }) => [setVar!.name, setVar!.value!]));
    return {
      allow: values.get('allow')?.boolValue,
      reason: values.get('reason')?.stringValue,
      score: Number(values.get('score')?.int64Value),
      retryAfter: values.get('retry_after')?.int64Value,
    };
  };
  return { process, ended, address, client, decide, ask };
}

const ip = (text: string) => value(`ipv4:${text}`);
const text = (stringValue: string): Value => ({ stringValue });

test('it decides as the others', async (t) => {
  const files = folder(t);
  writeFileSync(join(files, 'blocklist'), joined(conformance.blocklist));
  writeFileSync(join(files, 'keys'), joined(conformance.keys));
  const { ask } = await start(t, '--blocklist', join(files, 'blocklist'), '--keys', join(files, 'keys'));
  for (const { what, args, allow, reason, score } of conformance.decisions) {
    const values = Object.fromEntries(Object.entries(args).map(([name, described]) => [name, value(described)]));
    assert.deepEqual(await ask(values), { allow, reason, score, retryAfter: undefined }, what);
  }
});

test('an empty bucket says when to come again', async (t) => {
  const { ask } = await start(t, '--rate', '0.01', '--burst', '1');
  assert.equal((await ask({ ip: ip('192.0.2.7'), path: text('/') })).allow, true);
  const { retryAfter, ...verdict } = await ask({ ip: ip('192.0.2.7'), path: text('/') });
  assert.deepEqual(verdict, { allow: false, reason: 'rate limit', score: 50 });
  assert.ok(Number(retryAfter) >= 90 && Number(retryAfter) <= 100, retryAfter);
  assert.equal((await ask({ ip: ip('192.0.2.8'), path: text('/') })).allow, true);
  assert.equal((await ask({ ip: ip('192.0.2.7'), path: text('/'), token: text('let-me-in') })).allow, true);
});

test('what it cannot decide', async (t) => {
  const { ask, decide } = await start(t);
  await assert.rejects(ask({ path: value(null) }), { code: status.INVALID_ARGUMENT });
  assert.deepEqual((await decide({ messages: [{ name: 'other' }] })).actions, []);
  const fooled = { stringValue: 'let-me-in', rawString: Buffer.from('let-me-in\xff', 'latin1') };
  assert.equal((await ask({ path: text('/admin'), token: fooled })).allow, false, 'the replaced text counted');
});

test('it listens on a Unix socket, also over a stale file', async (t) => {
  const listen = `unix:${join(folder(t), 'socket')}`;
  const first = await start(t, '--listen', listen);
  first.process.kill('SIGKILL');
  await first.ended;
  const { ask, address } = await start(t, '--listen', listen);
  assert.equal(address, listen);
  assert.equal((await ask({ path: text('/administrator') })).allow, true);
});

test('it says serving, and then not serving, and ends well, with a stream open', async (t) => {
  const { process, ended, address, client } = await start(t);
  const stream = client.DecideStream();
  stream.write({ decision: { id: 1, remainingUs: 10e6, request: checkRequest({ path: text('/') }) } });
  const [answer] = await once(stream, 'data');
  assert.equal(answer.response.actions[0].setVar.value.boolValue, true);
  const asking = new health.grpc.health.v1.Health(address, credentials.createInsecure());
  for (const service of ['', 'spopbridge.v1.DecisionService']) {
    const answer = await new Promise((resolve, reject) =>
      asking['Check']!({ service }, (error: Error | null, answer: object) => (error ? reject(error) : resolve(answer))),
    );
    assert.deepEqual({ ...(answer as object) }, { status: 'SERVING' }, service);
  }
  const watch = asking['Watch']!({ service: '' });
  watch.on('error', () => {});
  assert.equal((await once(watch, 'data'))[0].status, 'SERVING');
  process.kill('SIGTERM');
  assert.equal((await once(watch, 'data'))[0].status, 'NOT_SERVING');
  watch.cancel();
  const [end] = await once(stream, 'status');
  assert.equal(end.code, status.OK);
  assert.deepEqual(await ended, [0, null]);
  asking.close();
});

test('a bad file or flag ends it at the start', (t) => {
  const file = join(folder(t), 'list.txt');
  writeFileSync(file, '192.0.2.1\nnonsense\n');
  for (const [flags, said] of [
    [['--blocklist', file], `${file}:2: not an address`],
    [['--keys', `${file}.none`], 'no such file'],
    [['--rate=-1'], 'expected a number'],
    [['--bust', '1'], 'usage:'],
  ] as [string[], string][]) {
    const { status, stderr } = spawnSync('node', [MAIN, ...flags], { encoding: 'utf8', timeout: 20_000 });
    assert.equal(status, 1, stderr);
    assert.ok(stderr.includes(said), stderr);
  }
});
