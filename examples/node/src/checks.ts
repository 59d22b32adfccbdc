// The three checks of the example: a list of addresses, API keys, a token bucket for each client.
//
// None of it knows gRPC. What it must do, to the second, stands in ../conformance.json.

import { createHash, timingSafeEqual } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { SocketAddress, isIPv4, isIPv6 } from 'node:net';

/** All lines of a file that are wrong. */
export class BadFile extends Error {}

/** Calls `take` for each line that says something. What it returns is what is wrong with that line. */
function eachLine(name: string, text: string, take: (line: string) => string | undefined): void {
  const bad: string[] = [];
  text.split('\n').forEach((line, index) => {
    const content = line.split('#', 1)[0]!.trim();
    const wrong = content === '' ? undefined : take(content);
    if (wrong !== undefined) bad.push(`${name}:${index + 1}: ${wrong}`);
  });
  if (bad.length > 0) throw new BadFile(bad.join('\n'));
}

/** An IPv4 address of 32 bits or an IPv6 address of 128. */
export class Address {
  private constructor(
    readonly length: 32 | 128,
    readonly bits: bigint,
  ) {}

  /** From 4 or 16 bytes. IPv4 in IPv6 (::ffff:192.0.2.1) is IPv4: HAProxy has it so on an IPv6 socket. */
  static of(bytes: Uint8Array): Address | undefined {
    if (bytes.length !== 4 && bytes.length !== 16) return undefined;
    const bits = BigInt(`0x${Buffer.from(bytes).toString('hex')}`);
    if (bytes.length === 16 && bits >> 32n !== 0xffffn) return new Address(128, bits);
    return new Address(32, bits & 0xffff_ffffn);
  }

  static parse(text: string): Address | undefined {
    if (isIPv4(text)) return Address.of(Uint8Array.from(text.split('.').map(Number)));
    if (!isIPv6(text) || text.includes('%')) return undefined;
    // Two halves around `::`, the last group perhaps as IPv4.
    const groups = (half: string) =>
      half.split(':').flatMap((group) => {
        if (group === '') return [];
        if (!group.includes('.')) return [parseInt(group, 16)];
        const [a, b, c, d] = group.split('.').map(Number) as [number, number, number, number];
        return [a * 256 + b, c * 256 + d];
      });
    const [start, end] = text.split('::').map(groups) as [number[], number[]?];
    const zeros = new Array<number>(8 - start.length - (end?.length ?? 0)).fill(0);
    const bytes = [...start, ...zeros, ...(end ?? [])].flatMap((group) => [group >> 8, group & 0xff]);
    return Address.of(Uint8Array.from(bytes));
  }

  toString(): string {
    const hex = this.bits.toString(16).padStart(this.length / 4, '0');
    if (this.length === 32) return Buffer.from(hex, 'hex').join('.');
    return new SocketAddress({ address: hex.match(/.{4}/g)!.join(':'), family: 'ipv6' }).address;
  }
}

/** Addresses and networks. The smallest network that holds an address counts. */
export class Blocklist {
  /** By number of bits of the address, then of the network, then by the network: the line that lists it. */
  private readonly entries = { 32: new Map<number, Map<bigint, string>>(), 128: new Map<number, Map<bigint, string>>() };
  private readonly prefixes: { 32: number[]; 128: number[] };

  constructor(text = '', name = 'blocklist') {
    eachLine(name, text, (line) => {
      const [start, prefix, more] = line.split('/') as [string, string?, string?];
      const address = Address.parse(start);
      const wrong = `not an address or a network (without host bits): ${line}`;
      if (address === undefined || more !== undefined || (address.length === 32 && start.includes(':'))) return wrong;
      if (prefix !== undefined && (!/^(0|[1-9][0-9]{0,2})$/.test(prefix) || Number(prefix) > address.length)) return wrong;
      const length = prefix === undefined ? address.length : Number(prefix);
      const hostBits = BigInt(address.length - length);
      const network = address.bits >> hostBits;
      if (network << hostBits !== address.bits) return wrong;
      const networks = this.entries[address.length].get(length) ?? new Map<bigint, string>();
      if (!networks.has(network)) networks.set(network, line);
      this.entries[address.length].set(length, networks);
      return undefined;
    });
    const longestFirst = (length: 32 | 128) => [...this.entries[length].keys()].sort((a, b) => b - a);
    this.prefixes = { 32: longestFirst(32), 128: longestFirst(128) };
  }

  /** The line that lists this address. */
  entry(ip: Address | undefined): string | undefined {
    if (ip === undefined) return undefined;
    for (const prefix of this.prefixes[ip.length]) {
      const line = this.entries[ip.length].get(prefix)?.get(ip.bits >> BigInt(ip.length - prefix));
      if (line !== undefined) return line;
    }
    return undefined;
  }
}

const sha256 = (bytes: Uint8Array | string) => createHash('sha256').update(bytes).digest();

const DEFAULT_KEYS = `default ${sha256('let-me-in').toString('hex')}`;

/** API keys, of which only the SHA-256 is known. Two keys of one name do: the old one and the new one. */
export class Keys {
  private readonly digests: { name: string; digest: Buffer }[] = [];

  constructor(text = DEFAULT_KEYS, name = 'keys') {
    eachLine(name, text, (line) => {
      const [, owner, hex] = /^(\S+)\s+([0-9a-f]{64})$/i.exec(line) ?? [];
      // The line is not shown: it may be a key.
      if (owner === undefined || hex === undefined) return 'expected a name and the SHA-256 of a key, in hex';
      const digest = Buffer.from(hex, 'hex');
      if (this.digests.some((earlier) => earlier.digest.equals(digest))) return 'the key of an earlier line';
      this.digests.push({ name: owner, digest });
      return undefined;
    });
  }

  /** Whose key this is. Takes as long for any key as for none. */
  nameOf(token: Uint8Array): string | undefined {
    const given = sha256(token);
    let found: string | undefined;
    for (const { name, digest } of this.digests) if (timingSafeEqual(given, digest) && token.length > 0) found = name;
    return found;
  }
}

/** Whom a bucket is for: an IPv4 address, or an IPv6 /64, which is what one customer has. */
export function clientOf(ip: Address | undefined): string {
  if (ip === undefined) return 'unknown';
  if (ip.length === 32) return ip.toString();
  const network = ((ip.bits >> 64n) << 64n).toString(16).padStart(32, '0');
  return `${Address.of(Buffer.from(network, 'hex'))}/64`;
}

export const MAX_CLIENTS = 100_000;

/**
 * A token bucket for each client: `rate` tokens a second, `burst` at most. A rate of 0 is no limit.
 *
 * Buckets are in two generations of half each: when the young one is full it becomes the old one, and the old one is forgotten. So
 * there is room for a flood of addresses, and a client among the last half keeps its bucket.
 */
export class Limit {
  private young = new Map<string, { tokens: number; since: number }>();
  private old: typeof this.young = new Map();

  constructor(
    private readonly rate = 0,
    readonly burst = Math.max(1, Math.ceil(rate)),
    private readonly maxClients = MAX_CLIENTS,
    /** Seconds. */
    private readonly now = () => performance.now() / 1000,
  ) {}

  get held(): number {
    return this.young.size + this.old.size;
  }

  /** 0 if there was a token, else the whole seconds until there is one. */
  take(client: string): number {
    if (this.rate === 0) return 0;
    const now = this.now();
    const bucket = this.young.get(client) ?? this.old.get(client) ?? { tokens: this.burst, since: now };
    const tokens = Math.min(this.burst, bucket.tokens + (now - bucket.since) * this.rate);
    const retryAfter = tokens >= 1 ? 0 : Math.max(1, Math.ceil((1 - tokens) / this.rate));
    if (!this.young.has(client) && this.young.size >= Math.floor(this.maxClients / 2)) {
      this.old = this.young;
      this.young = new Map();
    }
    this.young.set(client, { tokens: retryAfter > 0 ? tokens : tokens - 1, since: now });
    return retryAfter;
  }
}

/**
 * Reads a file, now and when it changes, also by a symlink as Kubernetes swaps them. What is wrong then leaves the old content. `use`
 * gets the text, and throws `BadFile`. Ends by what it returns.
 */
export function watched(path: string, use: (text: string, name: string) => void, every = 1000): () => void {
  const state = () => {
    const found = statSync(path, { throwIfNoEntry: false, bigint: true });
    return found && `${found.mtimeNs} ${found.size} ${found.ino}`;
  };
  const read = () => {
    let text: string;
    try {
      text = readFileSync(path, 'utf8');
    } catch (error) {
      throw new BadFile(`${path}: ${(error as Error).message}`);
    }
    use(text, path);
  };
  let seen = state();
  read();
  const timer = setInterval(() => {
    const now = state();
    if (now === seen) return;
    seen = now; // of before it is read: a change meanwhile is seen the next time
    try {
      read();
      console.error(`${path}: read again`);
    } catch (error) {
      console.error(`${(error as Error).message}\n${path}: the old content stays`);
    }
  }, every);
  timer.unref();
  return () => clearInterval(timer);
}
