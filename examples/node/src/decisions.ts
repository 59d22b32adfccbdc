// Both methods of spop-bridge's contract from one function. Copy this file and contract.ts into your service.
//
//     const decisions = new Decisions(async (request, asked) => ({ actions: [...] }));
//     server.addService(DecisionService.service, decisions.handlers);

import { Metadata, status } from '@grpc/grpc-js';
import type { ServerDuplexStream } from '@grpc/grpc-js';

import type { DecideRequest__Output } from './gen/spopbridge/v1/DecideRequest';
import type { DecideResponse } from './gen/spopbridge/v1/DecideResponse';
import type { DecideStreamRequest__Output } from './gen/spopbridge/v1/DecideStreamRequest';
import type { DecideStreamResponse } from './gen/spopbridge/v1/DecideStreamResponse';
import type { Decision__Output } from './gen/spopbridge/v1/Decision';
import type { DecisionServiceHandlers } from './gen/spopbridge/v1/DecisionService';

/** Decisions of one stream that may be under way. Beyond it the stream is not read, and the bridge notices. */
export const MAX_IN_FLIGHT = 1000;

/** What comes with a request. */
export interface Asked {
  /** Aborted when nobody waits for the answer any more: pass it to `fetch` and the like. */
  signal: AbortSignal;
  /** W3C trace context by header name; empty text where there is none. */
  trace: { traceparent: string; tracestate: string; baggage: string };
}

/** Decides one NOTIFY. What computes for long holds up all others: a worker thread for that. */
export type Decide = (request: DecideRequest__Output, asked: Asked) => DecideResponse | Promise<DecideResponse>;

/** There is no decision: the bridge gives HAProxy the route's actions for that failure. A denial is a decision. */
export class Refused extends Error {
  constructor(
    readonly code: status,
    message: string,
  ) {
    super(message);
  }
}

type Stream = ServerDuplexStream<DecideStreamRequest__Output, DecideStreamResponse>;

/** Answers `Decide` and `DecideStream`. On the stream, answers leave in any order. */
export class Decisions {
  private leaving = false;
  private readonly streams = new Set<OpenStream>();

  constructor(
    private readonly decide: Decide,
    private readonly maxInFlight = MAX_IN_FLIGHT,
  ) {}

  /** Ends each stream as soon as no decision on it is unanswered. */
  leave(): void {
    this.leaving = true;
    for (const stream of this.streams) stream.end();
  }

  readonly handlers: DecisionServiceHandlers = {
    Decide: async (call, callback) => {
      const abort = new AbortController();
      call.on('cancelled', () => abort.abort()); // also at the deadline
      const header = (name: string) => String(call.metadata.get(name)[0] ?? '');
      const trace = { traceparent: header('traceparent'), tracestate: header('tracestate'), baggage: header('baggage') };
      try {
        callback(null, await this.decide(call.request, { signal: abort.signal, trace }));
      } catch (error) {
        callback(failure(error));
      }
    },
    DecideStream: (call) => {
      call.sendMetadata(new Metadata()); // else the bridge hears nothing before the first answer
      const stream = new OpenStream(call, this.decide, this.maxInFlight, () => this.streams.delete(stream));
      this.streams.add(stream);
      if (this.leaving) stream.end();
    },
  };
}

/** One `DecideStream`. */
class OpenStream {
  /** By id, what ends a decision that nobody waits for. */
  private readonly waitedFor = new Map<string, () => void>();
  /** Decisions that have not returned; also those that nobody waits for. */
  private running = 0;
  private ending = false;
  /** Answers wait to be read by the bridge. */
  private clogged = false;

  constructor(
    private readonly call: Stream,
    private readonly decide: Decide,
    private readonly maxInFlight: number,
    private readonly gone: () => void,
  ) {
    call.on('data', (item: DecideStreamRequest__Output) => this.take(item));
    call.on('end', () => this.end()); // the bridge asks nothing more
    call.on('drain', () => {
      this.clogged = false;
      this.proceed();
    });
    call.on('error', () => this.broken());
    call.on('cancelled', () => this.broken());
  }

  /** Ends the stream with OK as soon as nothing is left to answer. */
  end(): void {
    this.ending = true;
    this.proceed();
  }

  private broken(): void {
    for (const drop of this.waitedFor.values()) drop();
    this.gone();
  }

  private take(item: DecideStreamRequest__Output): void {
    if (item.item === 'cancel') this.waitedFor.get(item.cancel!.id)?.();
    else if (item.item === 'decision' && !this.waitedFor.has(item.decision!.id)) void this.start(item.decision!);
    this.proceed();
  }

  private async start(decision: Decision__Output): Promise<void> {
    const { id, traceparent, tracestate, baggage } = decision;
    const abort = new AbortController();
    const drop = () => {
      clearTimeout(timer);
      this.waitedFor.delete(id);
      abort.abort();
    };
    // After that the bridge ignores the answer. 0 is what other clients send that do not care.
    const remaining = Math.min(Number(decision.remainingUs) / 1000, 2 ** 31 - 1);
    const timer = remaining > 0 ? setTimeout(drop, Math.ceil(remaining)) : undefined;
    this.waitedFor.set(id, drop);
    this.running += 1;
    let answer: DecideStreamResponse;
    try {
      const asked = { signal: abort.signal, trace: { traceparent, tracestate, baggage } };
      answer = { id, response: await this.decide(decision.request!, asked) };
    } catch (error) {
      const { code, details } = failure(error, abort.signal.aborted);
      answer = { id, error: { code, message: details } };
    }
    clearTimeout(timer);
    this.running -= 1;
    if (!abort.signal.aborted) {
      this.waitedFor.delete(id);
      if (!this.call.write(answer)) this.clogged = true;
    }
    this.proceed();
  }

  /** Reads on, or not; ends, if it is to end. */
  private proceed(): void {
    if (this.running >= this.maxInFlight || this.clogged) this.call.pause();
    else if (this.call.isPaused()) this.call.resume();
    if (this.ending && this.waitedFor.size === 0) {
      this.call.end();
      this.gone();
    }
  }
}

/** An error that is not `Refused` costs this decision, and is said: it is a bug. */
function failure(error: unknown, expected = false): { code: status; details: string } {
  if (error instanceof Refused) return { code: error.code, details: error.message };
  if (!expected) console.error('decision failed:', error);
  return { code: status.UNKNOWN, details: String(error) };
}
