"""The systemd unit: read by systemd itself, and its rules about system calls kept by a bridge that does all of its work."""

import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import unittest

import kit
import oci
from network import Network
from pod import Container, bind

SYSTEMD = kit.ROOT / "deploy/systemd"
UNIT = SYSTEMD / "spop-bridge.service"
# What runc itself calls after it has put the filter in place.
RUNC = ["capget", "capset", "setgid", "setgroups", "setuid"]


def analyze(*arguments):
    """(exit code, everything it said)"""
    done = subprocess.run(["systemd-analyze", *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode, done.stdout


def allowed():
    """The system calls of the unit's SystemCallFilter lines."""
    calls = calls_of("@default")
    for line in UNIT.read_text().splitlines():
        if line.startswith("SystemCallFilter="):
            names = line.split("=", 1)[1]
            one = set().union(*(calls_of(name) for name in names.removeprefix("~").split()))
            # What is always allowed cannot be taken away by a group.
            calls = calls - (one - calls_of("@default")) if names.startswith("~") else calls | one
    return calls


def calls_of(name):
    if not name.startswith("@"):
        return {name}
    lines = [line.strip() for line in kit.run("systemd-analyze", "syscall-filter", name).splitlines()[1:]]
    return set().union(*(calls_of(line) for line in lines if line and not line.startswith("#")))


class Unit(unittest.TestCase):
    def test_systemd_finds_nothing_wrong(self):
        with tempfile.TemporaryDirectory() as folder:
            unit = pathlib.Path(folder) / UNIT.name
            # It looks for the program.
            unit.write_text(UNIT.read_text().replace("/usr/bin/spop-bridge", "/bin/true"))
            code, said = analyze("verify", "--man=no", unit)
        self.assertEqual((code, said), (0, ""))

    def test_it_is_hardened(self):
        """At most 2.0 of the 10 that a service without any protection has."""
        code, said = analyze("security", "--offline=true", "--no-pager", "--threshold=20", UNIT)
        print(said.strip().splitlines()[-1])
        self.assertEqual(code, 0, said)


class Service(unittest.TestCase):
    """The shipped configuration under the unit's system calls, without capabilities, as a user that is in the group haproxy."""

    def test_it_starts_reloads_and_stops(self):
        network = Network()
        self.addCleanup(network.close)
        folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        folder.chmod(0o755)
        image = kit.image()
        (folder / "group").write_text("haproxy:x:4242:\n")
        run = folder / "run"
        run.mkdir()
        os.chown(run, 65532, 65532)
        container = {"name": "service", "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                     "env": [{"name": "SPOP_BRIDGE_DRAIN_DELAY", "value": "0s"}]}
        mounts = [bind(SYSTEMD, "/etc/spop-bridge"), bind(folder / "group", "/etc/group"), bind(run, "/run/spop-bridge", False)]
        spec = {"securityContext": {"fsGroup": 4242, "seccompProfile": {"type": "RuntimeDefault"}}}
        configuration = oci.configuration(spec, container, image["process"], image["rootfs"], mounts, network.path, f"/spop-bridge-test/{folder.name}")
        configuration["linux"]["seccomp"].update(defaultErrnoRet=1, syscalls=[{"names": sorted(allowed()) + RUNC, "action": "SCMP_ACT_ALLOW"}])
        oci.write(folder, configuration)
        service = Container(f"unit-{folder.name}", folder, container, network)
        self.addCleanup(service.kill)

        service.wait_for("admin listening")
        self.assertEqual(((run / "spop.sock").stat().st_gid, (run / "spop.sock").stat().st_mode & 0o777), (4242, 0o660))
        service.signal(signal.SIGHUP)
        service.wait_for("configuration reloaded")
        service.signal(signal.SIGTERM)
        self.assertEqual(service.wait(20), 0, "\n".join(service.lines))


if __name__ == "__main__":
    unittest.main()
