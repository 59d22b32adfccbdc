// The server around the decisions: sockets, health, an orderly stop.

import { lstatSync, unlinkSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { HealthImplementation } from 'grpc-health-check';

import { DecisionService } from './contract';
import { Decisions } from './decisions';
import type { Decide } from './decisions';

export interface Service {
  /** Where it listens: `host:port` or `unix:path`. */
  address: string;
  /** Ends it in order. */
  stop: () => Promise<void>;
}

/** Serves on `host:port` or `unix:path`. */
export async function serve(listen: string, decide: Decide): Promise<Service> {
  const decisions = new Decisions(decide);
  const health = new HealthImplementation({ '': 'SERVING', 'spopbridge.v1.DecisionService': 'SERVING' });
  const server = new Server();
  server.addService(DecisionService.service, decisions.handlers);
  health.addToServer(server);
  if (listen.startsWith('unix:')) removeStale(listen.slice('unix:'.length));
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(listen, ServerCredentials.createInsecure(), (error, port) => (error ? reject(error) : resolve(port)));
  });
  const stop = async () => {
    health.setStatus('', 'NOT_SERVING'); // bridges that ask for it go elsewhere
    health.setStatus('spopbridge.v1.DecisionService', 'NOT_SERVING');
    await sleep(500);
    // GOAWAY: bridges get a second to go elsewhere. Then streams end once they are quiet, and five seconds are all there is.
    const quiet = new Promise<void>((resolve) => server.tryShutdown(() => resolve()));
    const leaving = setTimeout(() => decisions.leave(), 1000);
    await Promise.race([quiet, sleep(5000, undefined, { ref: false })]);
    clearTimeout(leaving);
    server.forceShutdown();
  };
  return { address: listen.startsWith('unix:') ? listen : `${listen.slice(0, listen.lastIndexOf(':'))}:${port}`, stop };
}

/** A socket file left by a process that was killed is in the way. */
function removeStale(path: string): void {
  if (lstatSync(path, { throwIfNoEntry: false })?.isSocket()) unlinkSync(path);
}
