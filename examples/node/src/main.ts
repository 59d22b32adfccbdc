// A decision service for spop-bridge: bad addresses, API keys for /admin, a rate limit.
//
// It answers the message `check-request` with the args `ip`, `path` and `token`. ../README.md says what it decides, README.md how to
// run it.

import { parseArgs } from 'node:util';

import { CheckRequest } from './check-request';
import { BadFile, Blocklist, Keys, Limit, watched } from './checks';
import { serve } from './service';

const USAGE = 'usage: node dist/main.js [--listen host:port|unix:path] [--blocklist FILE] [--keys FILE] [--rate N [--burst N]]';

function number(flag: string, text: string | undefined, least: number): number | undefined {
  if (text === undefined) return undefined;
  const number = text.trim() === '' ? NaN : Number(text);
  if (!Number.isFinite(number) || number < least) throw new TypeError(`--${flag} ${text}: expected a number of at least ${least}`);
  return number;
}

async function main(): Promise<void> {
  const option = { type: 'string' } as const;
  const { values } = parseArgs({ options: { listen: option, blocklist: option, keys: option, rate: option, burst: option } });
  const { listen = '127.0.0.1:50051', blocklist, keys } = values;
  const service = new CheckRequest(new Limit(number('rate', values.rate, 0), number('burst', values.burst, 1)));
  if (blocklist !== undefined) watched(blocklist, (text, name) => (service.blocklist = new Blocklist(text, name)));
  if (keys !== undefined) watched(keys, (text, name) => (service.keys = new Keys(text, name)));
  const { address, stop } = await serve(listen, service.decide);
  console.log(`listening on ${address}`);
  await new Promise((told) => {
    process.once('SIGTERM', told);
    process.once('SIGINT', told);
  });
  await stop();
}

main().then(
  () => process.exit(0),
  (error: Error) => {
    // A flag or a file: no stack trace.
    console.error(error instanceof TypeError ? `${error.message}\n${USAGE}` : error instanceof BadFile ? error.message : error);
    process.exit(1);
  },
);
