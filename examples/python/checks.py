"""The three checks of the example: a list of addresses, API keys, a token bucket for each client.

None of it knows gRPC. What it must do, to the second, stands in ../conformance.json.
"""

import asyncio
import hashlib
import hmac
import ipaddress
import logging
import math
import os
import re
import time

DEFAULT_KEYS = "default " + hashlib.sha256(b"let-me-in").hexdigest()


class BadFile(Exception):
    """All lines of a file that are wrong."""


def lines_of(text):
    """Number and content of each line that says something."""
    for number, line in enumerate(text.splitlines(), 1):
        if content := line.partition("#")[0].strip():
            yield number, content


def address(text):
    """None for text that is no address. IPv4 in IPv6 (::ffff:192.0.2.1) is IPv4: HAProxy has it so on an IPv6 socket."""
    try:
        found = ipaddress.ip_address(text) if "%" not in text else None
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


class Blocklist:
    """Addresses and networks. The smallest network that holds an address counts."""

    def __init__(self, text="", name="blocklist"):
        self.entries = {4: {}, 6: {}}  # by IP version, prefix length, and the bits before it
        bad = []
        for number, line in lines_of(text):
            if (network := self.network(line)) is None:
                bad.append(f"{name}:{number}: not an address or a network (without host bits): {line}")
                continue
            bits = int(network.network_address) >> (network.max_prefixlen - network.prefixlen)
            self.entries[network.version].setdefault(network.prefixlen, {}).setdefault(bits, line)
        if bad:
            raise BadFile("\n".join(bad))
        self.lengths = {version: sorted(lengths, reverse=True) for version, lengths in self.entries.items()}

    @staticmethod
    def network(line):
        start, slash, length = line.partition("/")
        if "::ffff:" in start.lower() and "." in start or slash and not re.fullmatch("0|[1-9][0-9]{0,2}", length):
            return None
        try:
            return ipaddress.ip_network(line) if address(start) else None
        except ValueError:
            return None

    def entry(self, ip):
        """The line that lists this address, or None."""
        if ip is None:
            return None
        for length in self.lengths[ip.version]:
            if line := self.entries[ip.version][length].get(int(ip) >> (ip.max_prefixlen - length)):
                return line
        return None


class Keys:
    """API keys, of which only the SHA-256 is known. Two keys of one name do: the old one and the new one."""

    def __init__(self, text=DEFAULT_KEYS, name="keys"):
        self.digests, bad = [], []
        for number, line in lines_of(text):
            found = re.fullmatch(r"(\S+)\s+([0-9a-fA-F]{64})", line)
            if not found:  # not shown: it may be a key
                bad.append(f"{name}:{number}: expected a name and the SHA-256 of a key, in hex")
            elif any(digest == bytes.fromhex(found[2]) for _, digest in self.digests):
                bad.append(f"{name}:{number}: the key of an earlier line")
            else:
                self.digests.append((found[1], bytes.fromhex(found[2])))
        if bad:
            raise BadFile("\n".join(bad))

    def name_of(self, token):
        """Whose key this is, or None. Takes as long for any key as for none."""
        given, name = hashlib.sha256(token or b"").digest(), None
        for owner, digest in self.digests:
            if hmac.compare_digest(given, digest) and token:
                name = owner
        return name


def client_of(ip):
    """Whom a bucket is for: an IPv4 address, or an IPv6 /64, which is what one customer has."""
    if ip is None:
        return "unknown"
    return str(ip) if ip.version == 4 else str(ipaddress.ip_network((ip, 64), strict=False))


class Limit:
    """A token bucket for each client: `rate` tokens a second, `burst` at most. A rate of 0 is no limit.

    Buckets are in two generations of `max_clients / 2`: when the young one is full it becomes the old one, and the old one is forgotten.
    So there is room for a flood of addresses, and a client among the last `max_clients / 2` keeps its bucket.
    """

    def __init__(self, rate=0, burst=None, max_clients=100_000, clock=time.monotonic):
        self.rate, self.burst = rate, burst or max(1, math.ceil(rate))
        self.half, self.clock = max_clients // 2, clock
        self.young, self.old = {}, {}

    def take(self, client):
        """0 if there was a token, else the whole seconds until there is one."""
        if not self.rate:
            return 0
        now = self.clock()
        tokens, since = self.young.get(client) or self.old.get(client) or (self.burst, now)
        tokens = min(self.burst, tokens + (now - since) * self.rate)
        retry_after = 0 if tokens >= 1 else max(1, math.ceil((1 - tokens) / self.rate))
        if client not in self.young and len(self.young) >= self.half:
            self.young, self.old = {}, self.young
        self.young[client] = (tokens if retry_after else tokens - 1, now)
        return retry_after


class Watched:
    """A file that is read again when it changes, also by a symlink as Kubernetes swaps them. What is wrong then leaves the old content.

    `use` gets the parsed content, now and at each change.
    """

    def __init__(self, path, parse, use):
        self.path, self.parse, self.use = path, parse, use
        self.seen = self.state()
        self.read()

    def state(self):
        try:
            found = os.stat(self.path)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def read(self):
        try:
            with open(self.path, encoding="utf-8") as file:
                self.use(self.parse(file.read(), self.path))
        except (OSError, UnicodeDecodeError) as error:
            raise BadFile(f"{self.path}: {error}") from error

    async def watch(self, every=1.0):
        while True:
            await asyncio.sleep(every)
            if (state := self.state()) == self.seen:
                continue
            self.seen = state  # of before it is read: a change meanwhile is seen the next time
            try:
                self.read()
                logging.warning("%s: read again", self.path)
            except BadFile as error:
                logging.error("%s\n%s: the old content stays", error, self.path)
