// ../conformance.json: what all examples must do alike. For the tests.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isIPv6 } from 'node:net';

import { Address } from './checks';
import type { Value } from './gen/spopbridge/v1/Value';

interface Conformance {
  blocklist: string[];
  listed: { ip: string | null; entry: string | null }[];
  bad_blocklist: { lines: string[]; bad: number[] };
  keys: string[];
  tokens: { token: string | null; name: string | null }[];
  bad_keys: { lines: string[]; bad: number[] };
  clients: { ip: string | null; client: string }[];
  limits: {
    what: string;
    rate: number;
    burst: number;
    max: number;
    takes: { at: number; client: string; retry_after: number }[];
  }[];
  decisions: { what: string; args: Record<string, string | null>; allow: boolean; reason: string; score: number }[];
}

export const conformance = JSON.parse(readFileSync(join(__dirname, '../../conformance.json'), 'utf8')) as Conformance;

export const joined = (lines: string[]) => lines.map((line) => `${line}\n`).join('');

/** An arg as conformance.json has it: `kind:text`, or null. */
export function value(described: string | null): Value {
  if (described === null) return { nullValue: 'NULL_VALUE_UNSPECIFIED' };
  const [, kind, text] = /^(ipv4|ipv6|string):(.*)$/.exec(described) ?? [undefined, 'string', described];
  return kind === 'string' ? { stringValue: text } : { [`${kind}Value`]: bytes(text!) };
}

/** As they come over the wire, so that IPv4 in IPv6 stays 16 bytes. */
function bytes(text: string): Buffer {
  const hex = Address.parse(text)!.bits.toString(16);
  const mapped = isIPv6(text) && text.includes('.');
  return Buffer.from(isIPv6(text) ? (mapped ? `ffff${hex.padStart(8, '0')}` : hex).padStart(32, '0') : hex.padStart(8, '0'), 'hex');
}
