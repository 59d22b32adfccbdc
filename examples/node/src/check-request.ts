// The decision about the message `check-request` with the args `ip`, `path` and `token`.

import { status } from '@grpc/grpc-js';

import { Address, Blocklist, Keys, Limit, clientOf } from './checks';
import { Refused } from './decisions';
import type { Action } from './gen/spopbridge/v1/Action';
import type { DecideRequest__Output } from './gen/spopbridge/v1/DecideRequest';
import type { DecideResponse } from './gen/spopbridge/v1/DecideResponse';
import type { Value, Value__Output } from './gen/spopbridge/v1/Value';

/** The score goes from 0 (harmless) to 100; retryAfter is 0 unless the client is rate-limited. */
interface Verdict {
  allow: boolean;
  reason: string;
  score: number;
  retryAfter?: number;
}

/** Blocklist and keys may be replaced while it decides. */
export class CheckRequest {
  constructor(
    private readonly limit = new Limit(),
    public blocklist = new Blocklist(),
    public keys = new Keys(),
  ) {}

  readonly decide = (request: DecideRequest__Output): DecideResponse => {
    const message = request.messages.find(({ name }) => name === 'check-request');
    if (message === undefined) return {}; // not a question for this service: no opinion
    const args = new Map(message.args.map(({ name, value }) => [name, value]));
    const path = args.get('path')?.stringValue;
    // Costs HAProxy nothing: the bridge answers with the route's actions for `rejected`.
    if (path === undefined) throw new Refused(status.INVALID_ARGUMENT, 'check-request came without a path');
    const { allow, reason, score, retryAfter = 0 } = this.verdict(address(args.get('ip')), path, exactBytes(args.get('token')));
    const actions = [
      setVar('allow', { boolValue: allow }),
      setVar('reason', { stringValue: reason }),
      setVar('score', { int64Value: score }),
    ];
    if (retryAfter > 0) actions.push(setVar('retry_after', { int64Value: retryAfter }));
    return { actions };
  };

  /** The rule itself. */
  private verdict(ip: Address | undefined, path: string, token: Uint8Array): Verdict {
    const entry = this.blocklist.entry(ip);
    if (entry !== undefined) return { allow: false, reason: `listed: ${entry}`, score: 100 };
    const owner = this.keys.nameOf(token);
    // Before keys are judged, so that they cannot be guessed any faster.
    const retryAfter = this.limit.take(owner === undefined ? clientOf(ip) : `key ${owner}`);
    if (retryAfter > 0) return { allow: false, reason: 'rate limit', score: 50, retryAfter };
    // By segments: `//admin` and `/x/../admin` are the same place to most applications.
    if (!path.toLowerCase().split('/').includes('admin')) return { allow: true, reason: 'public path', score: 0 };
    if (owner !== undefined) return { allow: true, reason: 'token accepted', score: 10 };
    return { allow: false, reason: `admin path without token from ${ip ?? 'unknown'}`, score: 100 };
  }
}

/** An address, also one that came as text (`ip=req.hdr(x-real-ip)`). */
function address(value: Value__Output | null | undefined): Address | undefined {
  const bytes = value?.ipv4Value ?? value?.ipv6Value;
  return bytes === undefined ? Address.parse(value?.stringValue ?? '') : Address.of(bytes);
}

/** Those that HAProxy sent, also where they are not UTF-8. */
function exactBytes(value: Value__Output | null | undefined): Uint8Array {
  return value?.rawString.length ? value.rawString : Buffer.from(value?.stringValue ?? '');
}

/** Sets txn.<option var-prefix>.<name> in HAProxy. */
export function setVar(name: string, value: Value): Action {
  return { setVar: { scope: 'VAR_SCOPE_TRANSACTION', name, value } };
}
