"""The three checks alone, held against ../conformance.json, with a clock of the test's own."""

import asyncio
import json
import os
import tempfile
import unittest

import checks

HERE = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(HERE, "..", "conformance.json"), encoding="utf-8") as file:
    CONFORMANCE = json.load(file)


def joined(lines):
    return "\n".join(lines) + "\n"


def address(kind_and_text):
    return checks.address(kind_and_text.partition(":")[2]) if kind_and_text else None


class ChecksTest(unittest.TestCase):
    def test_the_blocklist_finds_the_smallest_network(self):
        blocklist = checks.Blocklist(joined(CONFORMANCE["blocklist"]))
        for case in CONFORMANCE["listed"]:
            self.assertEqual(blocklist.entry(address(case["ip"])), case["entry"], case)

    def test_bad_lines_are_named(self):
        for parse, file in ((checks.Blocklist, "bad_blocklist"), (checks.Keys, "bad_keys")):
            with self.assertRaises(checks.BadFile) as caught:
                parse(joined(CONFORMANCE[file]["lines"]), "a.txt")
            named = [int(line.split(":")[1]) for line in str(caught.exception).splitlines()]
            self.assertEqual(named, CONFORMANCE[file]["bad"])
            self.assertNotIn("let-me-in", str(caught.exception))

    def test_keys_are_known_by_their_hash(self):
        keys = checks.Keys(joined(CONFORMANCE["keys"]))
        for case in CONFORMANCE["tokens"]:
            token = case["token"]
            self.assertEqual(keys.name_of(None if token is None else token.encode()), case["name"], case)
        self.assertEqual(checks.Keys().name_of(b"let-me-in"), "default")

    def test_whom_a_bucket_is_for(self):
        for case in CONFORMANCE["clients"]:
            self.assertEqual(checks.client_of(address(case["ip"])), case["client"], case)

    def test_the_bucket_is_exact(self):
        for case in CONFORMANCE["limits"]:
            now = 0
            limit = checks.Limit(case["rate"], case["burst"], case["max"], clock=lambda: now)
            for number, take in enumerate(case["takes"]):
                now = take["at"]
                self.assertEqual(limit.take(take["client"]), take["retry_after"], (case["what"], number))

    def test_a_flood_of_clients_fills_no_memory(self):
        limit = checks.Limit(1, 1, 1000)
        for client in range(10_000):
            limit.take(str(client))
            self.assertLessEqual(len(limit.young) + len(limit.old), 1000)

    def test_burst_is_the_rate_unless_it_is_given(self):
        self.assertEqual([checks.Limit(rate).burst for rate in (0, 0.5, 2.5, 10)], [1, 1, 3, 10])
        self.assertEqual(checks.Limit(0).take("a"), 0)


class WatchedTest(unittest.IsolatedAsyncioTestCase):
    async def test_a_file_is_read_again_and_a_bad_one_is_not_taken(self):
        values = []
        with tempfile.TemporaryDirectory() as folder, self.assertLogs() as logs:
            path = os.path.join(folder, "list")

            def swap(text):  # as Kubernetes does it: a link goes elsewhere
                new = os.path.join(folder, str(len(text)))
                with open(new, "w", encoding="utf-8") as file:
                    file.write(text)
                os.symlink(new, path + ".new")
                os.replace(path + ".new", path)

            async def until(condition):
                for _ in range(1000):
                    if condition():
                        return
                    await asyncio.sleep(0.01)
                self.fail(f"{values} {logs.output}")

            swap("192.0.2.1\n")
            watched = checks.Watched(path, checks.Blocklist, values.append)
            watching = asyncio.create_task(watched.watch(every=0.01))
            swap("192.0.2.11\nnonsense\n")
            await until(lambda: any("list:2: not an address" in line for line in logs.output))
            self.assertEqual(len(values), 1)
            swap("192.0.2.111\n")
            await until(lambda: len(values) == 2)
            os.remove(path)
            await until(lambda: any("No such file" in line for line in logs.output))
            watching.cancel()
        self.assertEqual([value.entry(checks.address("192.0.2.111")) for value in values], [None, "192.0.2.111"])


if __name__ == "__main__":
    unittest.main()
