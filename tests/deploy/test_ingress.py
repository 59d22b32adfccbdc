"""deploy/ingress: the values files, put where the controllers put them, run by a real
HAProxy with the real bridge and a real decision service.

The charts are not here: tests/deploy/ingress/ has what their controllers write around
the snippets.
"""

import concurrent.futures
import functools
import http.client
import os
import pathlib
import random
import re
import shutil
import socket
import subprocess
import tempfile
import time
import unittest

import yaml

import kit
from dns_server import Dns

INGRESS = kit.DEPLOY / "ingress"
SKELETONS = kit.HERE / "ingress"
PYTHON = kit.ROOT / ".cache/python/bin/python"
# Releases of HAProxy that a recipe is for, of those that the tests have. The chart
# haproxytech/haproxy has 3.3, haproxy-ingress 2.8 (0.16) and 3.0 (0.17).
RELEASES = {
    "haproxytech-kubernetes-ingress": ["3.2"],
    "haproxytech-haproxy": ["3.2", "3.4"],
    "haproxy-ingress": ["2.8", "3.0"],
}
# What the pods run as: HAProxy of each chart. The bridge has a uid of its own, and this group.
HAPROXY_ID = {"haproxytech-kubernetes-ingress": 1000, "haproxytech-haproxy": 1000, "haproxy-ingress": 99}
ROOT = os.geteuid() == 0
# One place, for most applications.
PATHS = ["/admin", "/%61dmin", "//admin", "/./admin", "/x/../admin"]
PROGRAMS = tempfile.TemporaryDirectory(prefix="ingress-programs-", dir="/tmp")
os.chmod(PROGRAMS.name, 0o755)


def values(chart, form):
    return yaml.safe_load((INGRESS / chart / f"{form}.yaml").read_text())


def haproxy_files(chart, form):
    """The HAProxy files of a pod, as (name, text), in the order of its `-f` options."""
    given = values(chart, form)
    if chart == "haproxytech-haproxy":
        return [("haproxy.cfg", given["config"])]
    skeleton = (SKELETONS / f"{chart}.cfg").read_text()
    config = given["controller"]["config"]
    if chart == "haproxytech-kubernetes-ingress":
        text = skeleton.replace("\n@SNIPPET@\n", "\n" + config["frontend-config-snippet"])
        return [("haproxy.cfg", text), ("haproxy-aux.cfg", given["controller"]["auxiliaryConfig"])]
    text = skeleton.replace("\n@SNIPPET@\n", "\n" + config["config-frontend"])
    return [("haproxy.cfg", text.replace("\n@SECTIONS@\n", "\n" + config["config-sections"]))]


def sidecar(chart):
    given = values(chart, "sidecar")
    (container,) = given.get("controller", given)["initContainers"]
    return container


# Below the ports that the kernel gives to outgoing connections, one of which could have a port of ours before its program is started.
PORTS = iter(random.sample(range(10_000, 30_000), 2_000))


def free_port():
    for port in PORTS:
        with socket.socket() as listener:
            if listener.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise AssertionError("no free port")


def eventually(condition, what, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what()}")
        time.sleep(0.05)


@functools.cache
def reachable(program):
    """Where other users may run it: into the repository they may not be allowed to look."""
    program = pathlib.Path(program)
    if not ROOT:
        return program
    folder = pathlib.Path(PROGRAMS.name) / program.parent.name
    folder.mkdir()
    shutil.copy(program, folder)
    if (program.parent / "lib").is_dir():  # an unpacked HAProxy brings its libraries
        shutil.copytree(program.parent, folder, ignore=shutil.ignore_patterns(".*"), dirs_exist_ok=True)
    return folder / program.name


class Pod:
    """HAProxy, the bridge and a decision service, with the pod's paths moved into a folder."""

    def __init__(self, chart, form, release):
        self.chart, self.form, self.processes = chart, form, {}
        self.name = f"{chart}, {form}, HAProxy {release}"
        self.folder = tempfile.TemporaryDirectory(prefix="ingress-", dir="/tmp")
        self.dir = pathlib.Path(self.folder.name)
        self.http, self.stats, self.decisions, self.admin, self.spop = (free_port() for _ in range(5))
        self.dns = Dns(["127.0.0.1"])
        self._lay_out(release)

    def _lay_out(self, release):
        self.dir.chmod(0o755)
        (self.dir / "socket").mkdir()
        (self.dir / "socket").chmod(0o777)  # as an emptyDir is
        (self.dir / "state").mkdir()
        (self.dir / "state").chmod(0o777)
        for name in ("bridge.yaml", "spoe.cfg"):
            self._write(name, (INGRESS / name).read_text())
        if self.form == "service":
            # The bridge's own pods listen on a port.
            config = yaml.safe_load((self.dir / "bridge.yaml").read_text())
            config["listeners"] = [{"bind": f"127.0.0.1:{self.spop}", "var_prefix": "br"}]
            (self.dir / "bridge.yaml").write_text(yaml.safe_dump(config))
        self.files = []
        for name, text in haproxy_files(self.chart, self.form):
            self._write(name, text)
            self.files += ["-f", str(self.dir / name)]
        self.bridge, self.haproxy = reachable(kit.bridge()), reachable(kit.haproxy(release))

    def _write(self, name, text):
        for theirs, mine in {
            "/etc/spop-bridge/": f"{self.dir}/",
            "/run/spop-bridge/": f"{self.dir}/socket/",
            "@DIR@": f"{self.dir}/state",
            "@HTTP@": str(self.http),
            "bind :8080": f"bind 127.0.0.1:{self.http}",
            "@STATS@": str(self.stats),
            "bind :1024": f"bind 127.0.0.1:{self.stats}",
            "server app app.default.svc.cluster.local:8080": 'http-request return status 200 content-type text/plain lf-string "%[path]\\n"',
            "dns:///decisions.default.svc.cluster.local:50051": f"http://127.0.0.1:{self.decisions}",
            "0.0.0.0:9902": f"127.0.0.1:{self.admin}",
            # A busy machine may take longer than anybody would wait for a decision.
            "timeout: 50ms": "timeout: 2s",
            "timeout processing 100ms": "timeout processing 5s",
            "timeout hello 500ms": "timeout hello 5s",
            "timeout check 500ms": "timeout check 5s",
            "parse-resolv-conf": f"nameserver test 127.0.0.1:{self.dns.port}",
            "svc.cluster.local:9000": f"svc.cluster.local:{self.spop}",
        }.items():
            text = text.replace(theirs, mine)
        (self.dir / name).write_text(text)

    def check(self):
        """What `haproxy -c` says, and its exit code."""
        done = subprocess.run([self.haproxy, "-c", *self.files], capture_output=True, text=True, timeout=30)
        return done.returncode, done.stdout + done.stderr

    def start(self, name):
        identity = {}
        if name == "decisions":
            command = [
                PYTHON, kit.ROOT / "examples/python/decision_service.py",
                "--listen", f"127.0.0.1:{self.decisions}",
            ]
        elif name == "bridge":
            command = [self.bridge, "run", "--config", self.dir / "bridge.yaml"]
            context = sidecar(self.chart)["securityContext"]
            identity = {"user": context["runAsUser"], "group": context["runAsGroup"]}
        else:
            # In the foreground, whatever `global` says.
            command = [self.haproxy, "-db", *self.files]
            identity = {"user": HAPROXY_ID[self.chart], "group": HAPROXY_ID[self.chart]}
        if ROOT and identity:
            identity["extra_groups"] = []
        else:
            identity = {}
        with open(self.dir / f"{name}.log", "ab") as log:
            self.processes[name] = subprocess.Popen(command, stdout=log, stderr=log, cwd="/", **identity)

    def stop(self, name):
        process = self.processes.pop(name)
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for name in list(self.processes):
            self.stop(name)
        self.dns.close()
        self.folder.cleanup()

    def service_listens(self):
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.decisions)) == 0

    def get(self, path, token=None):
        """(status, body), or None while nobody listens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http, timeout=10)
        try:
            connection.request("GET", path, headers={"x-token": token} if token else {})
            response = connection.getresponse()
            return response.status, response.read().decode().strip()
        except ConnectionError:
            return None
        finally:
            connection.close()

    def logs(self):
        return "\n".join(f"--- {path.name}\n{path.read_text()}" for path in sorted(self.dir.glob("*.log")))


class Recipes(unittest.TestCase):
    """Everything that can be told without running it."""

    def test_the_same_socket_and_files_on_both_sides(self):
        for chart in RELEASES:
            with self.subTest(chart=chart):
                given = values(chart, "sidecar")
                given = given.get("controller", given)
                mounts = {mount["mountPath"]: mount["name"] for mount in given["extraVolumeMounts"]}
                theirs = {mount["mountPath"]: mount["name"] for mount in sidecar(chart)["volumeMounts"]}
                self.assertEqual(mounts, theirs)
                self.assertEqual(set(mounts), {"/etc/spop-bridge", "/run/spop-bridge"})
                self.assertEqual(set(mounts.values()), {volume["name"] for volume in given["extraVolumes"]})

    def test_the_sidecar_is_the_same_but_for_its_group(self):
        first, *others = (dict(sidecar(chart)) for chart in RELEASES)
        for other in others:
            other["securityContext"] = dict(other["securityContext"], runAsGroup=first["securityContext"]["runAsGroup"])
            self.assertEqual(first, other)
        for chart, identity in HAPROXY_ID.items():
            self.assertEqual(sidecar(chart)["securityContext"]["runAsGroup"], identity)

    def test_the_two_forms_ask_and_deny_alike(self):
        for chart in RELEASES:
            rules = [
                [line for line in re.findall(r".*", haproxy_files(chart, form)[0][1]) if re.search(r"spoe|br_|br\.", line)]
                for form in ("sidecar", "service")
            ]
            self.assertTrue(rules[0])
            self.assertEqual(rules[0], rules[1], chart)

    def test_servers_are_checked(self):
        """Without, requests to a dead bridge wait for the whole `timeout processing`."""
        for path in INGRESS.glob("*/*.yaml"):
            (server,) = re.findall(r"^ *server(?:-template)? (?!app).*", path.read_text(), flags=re.M)
            self.assertIn(" check ", server, path)
            self.assertIn("option spop-check", path.read_text(), path)

    def test_helm_leaves_the_texts_alone(self):
        for path in INGRESS.glob("*/*.yaml"):
            self.assertNotIn("{{", path.read_text(), path)  # all three charts pass them through `tpl`


class Running(unittest.TestCase):
    """Each recipe with each release of HAProxy that it is for."""

    def test_sidecar(self):
        self.each("sidecar", [self.check_config, self.check_decisions])

    def test_service(self):
        self.each("service", [self.check_config, self.check_decisions, self.check_dns])

    def each(self, form, checks):
        kit.needs(PYTHON.exists(), "Python with grpcio")

        def run(pod):
            with pod:
                for check in checks:
                    check(pod)

        pods = [Pod(chart, form, release) for chart, releases in RELEASES.items() for release in releases]
        # Side by side: they mostly wait for checks, for DNS and for each other.
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            runs = [pool.submit(run, pod) for pod in pods]
        for pod, done in zip(pods, runs):
            with self.subTest(pod=pod.name):
                done.result()

    def check_config(self, pod):
        status, said = pod.check()
        self.assertEqual(status, 0, said)
        self.assertNotRegex(said, r"\[(WARNING|ALERT)\]")

    def check_decisions(self, pod):
        # The service first: a worker of the bridge that found nobody tries again later than the other may.
        pod.start("decisions")
        eventually(pod.service_listens, pod.logs)
        pod.start("bridge")
        pod.start("haproxy")
        self.wait_for(pod, "/admin", None, 403)
        self.gets(pod, 200, "/x")
        self.gets(pod, 200, "/admin", "let-me-in")

        # However the path is written.
        for path in PATHS:
            self.gets(pod, 403, path)

        # No decision: nothing passes.
        pod.stop("decisions")
        self.wait_for(pod, "/admin", "let-me-in", 503)
        for path in (*PATHS, "/x"):
            self.gets(pod, 503, path, "let-me-in")
        pod.start("decisions")
        self.wait_for(pod, "/admin", "let-me-in", 200)

        # No bridge.
        pod.stop("bridge")
        self.wait_for(pod, "/admin", "let-me-in", 503)
        for path in (*PATHS, "/x"):
            self.gets(pod, 503, path, "let-me-in")
        pod.start("bridge")
        self.wait_for(pod, "/admin", "let-me-in", 200)

    def check_dns(self, pod):
        # A pod that has gone is still in DNS: its check fails, and nobody waits for it.
        pod.dns.addresses = ["127.0.0.2", "127.0.0.1"]
        time.sleep(2.5)  # twice `hold valid`
        for _ in range(20):
            self.gets(pod, 200, "/admin", "let-me-in")
        # It is the only one that DNS still has: the other is asked no more.
        pod.dns.addresses = ["127.0.0.2"]
        pod.stop("bridge")
        self.wait_for(pod, "/admin", "let-me-in", 503)
        time.sleep(7)  # `hold valid` and `hold obsolete`
        pod.start("bridge")
        self.wait_for(pod, "/admin", "let-me-in", 503)
        pod.dns.addresses = ["127.0.0.1"]
        self.wait_for(pod, "/admin", "let-me-in", 200)

    def gets(self, pod, status, path, token=None):
        answer = pod.get(path, token)
        self.assertEqual(answer[0], status, pod.logs())
        if status == 200:
            self.assertEqual(answer[1], path)

    def wait_for(self, pod, path, token, status):
        eventually(
            lambda: (pod.get(path, token) or (None,))[0] == status,
            lambda: f"{status} for {path}, which gets {pod.get(path, token)}\n{pod.logs()}",
        )


if __name__ == "__main__":
    unittest.main()
