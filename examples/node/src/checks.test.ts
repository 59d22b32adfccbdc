// The three checks alone, held against ../conformance.json, with a clock of the test's own.

import assert from 'node:assert/strict';
import { mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { Address, BadFile, Blocklist, Keys, Limit, clientOf, watched } from './checks';
import { conformance, joined, value } from './conformance';

function address(described: string | null): Address | undefined {
  const { ipv4Value, ipv6Value, stringValue } = value(described);
  const bytes = ipv4Value ?? ipv6Value;
  return bytes === undefined ? Address.parse(stringValue ?? '') : Address.of(bytes as Buffer);
}

test('the blocklist finds the smallest network', () => {
  const blocklist = new Blocklist(joined(conformance.blocklist));
  for (const { ip, entry } of conformance.listed) assert.equal(blocklist.entry(address(ip)) ?? null, entry, String(ip));
});

test('bad lines are named', () => {
  for (const [parse, { lines, bad }] of [
    [Blocklist, conformance.bad_blocklist],
    [Keys, conformance.bad_keys],
  ] as const) {
    assert.throws(
      () => new parse(joined(lines), 'a.txt'),
      (error: BadFile) => {
        assert.deepEqual(error.message.split('\n').map((line) => Number(line.split(':')[1])), bad);
        assert.ok(!error.message.includes('let-me-in'), 'a key is shown');
        return error instanceof BadFile;
      },
    );
  }
});

test('keys are known by their hash', () => {
  const keys = new Keys(joined(conformance.keys));
  for (const { token, name } of conformance.tokens) assert.equal(keys.nameOf(Buffer.from(token ?? '')) ?? null, name, String(token));
  assert.equal(new Keys().nameOf(Buffer.from('let-me-in')), 'default');
});

test('whom a bucket is for', () => {
  for (const { ip, client } of conformance.clients) assert.equal(clientOf(address(ip)), client, String(ip));
});

test('addresses are written as others write them', () => {
  for (const text of ['192.0.2.7', '2001:db8::1', '::', '::1', '2001:db8:0:1::', '1:2:3:4:5:6:7:8']) {
    assert.equal(String(Address.parse(text)), text);
  }
});

test('the bucket is exact', () => {
  for (const { what, rate, burst, max, takes } of conformance.limits) {
    let now = 0;
    const limit = new Limit(rate, burst, max, () => now);
    for (const [number, { at, client, retry_after }] of takes.entries()) {
      now = at;
      assert.equal(limit.take(client), retry_after, `${what}: ${number}`);
    }
  }
});

test('a flood of clients fills no memory', () => {
  const limit = new Limit(1, 1, 1000);
  for (let client = 0; client < 10_000; client++) {
    limit.take(String(client));
    assert.ok(limit.held <= 1000);
  }
});

test('burst is the rate unless it is given', () => {
  assert.deepEqual([0, 0.5, 2.5, 10].map((rate) => new Limit(rate).burst), [1, 1, 3, 10]);
  assert.equal(new Limit(0).take('a'), 0);
});

test('a file is read again, and a bad one is not taken', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'decisions-'));
  const path = join(folder, 'list');
  // As Kubernetes does it: a link goes elsewhere.
  const swap = (text: string) => {
    const file = join(folder, String(text.length));
    writeFileSync(file, text);
    symlinkSync(file, `${path}.new`);
    renameSync(`${path}.new`, path);
  };
  const said: string[] = [];
  const log = t.mock.method(console, 'error', (text: string) => said.push(text));
  const until = async (what: string, condition: () => boolean) => {
    for (let tries = 0; !condition(); tries++) {
      assert.ok(tries < 2000, `${what}: ${said.join('\n')}`);
      await sleep(5);
    }
  };
  let lists: Blocklist[] = [];
  swap('192.0.2.1\n');
  const stop = watched(path, (text, name) => (lists = [...lists, new Blocklist(text, name)]), 5);
  const alive = setInterval(() => {}, 1000); // the watch alone keeps no process up
  swap('192.0.2.11\nnonsense\n');
  await until('the bad line is named', () => said.some((line) => line.includes('list:2: not an address')));
  assert.equal(lists.length, 1);
  swap('192.0.2.111\n');
  await until('it is read again', () => lists.length === 2);
  assert.equal(lists[1]!.entry(Address.parse('192.0.2.111')), '192.0.2.111');
  rmSync(path);
  await until('that it is gone is said', () => said.some((line) => line.includes('no such file')));
  stop();
  clearInterval(alive);
  log.mock.restore();
  rmSync(folder, { recursive: true });
});
