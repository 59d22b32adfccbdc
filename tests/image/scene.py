"""The chart's pods with this image, HAProxy, a decision service, and clients."""

import http.client
import os
import re
import shutil
import subprocess
import threading
import time

import yaml

import kit
from dns import Dns
from pod import Pod, bind, until

NAMESPACE = "edge"
CONFIG = {
    # A name that only DNS has, by the search domains of a pod's resolv.conf; a variable, as tokens are given.
    "backends": {"decisions": {"endpoints": ["dns:///decisions:50051"], "metadata": {"x-token": "${TOKEN}"}}},
    # Far above what a decision takes: this is not about speed, and the machine may be busy.
    "routes": [{"messages": ["*"], "backend": "decisions", "timeout": "5s"}],
}


def rendered(mode, config=None, haproxy=None, **values):
    """Every object that the chart makes of these values."""
    values.update(mode=mode, config={**CONFIG, **(config or {})}, haproxy={"processingTimeout": "10s", **(haproxy or {})},
                  extraEnv=[{"name": "TOKEN", "value": "s3cret"}])
    kit.needs(kit.HELM, "Helm")
    scratch = kit.CACHE / "helm"
    environment = dict(os.environ, HELM_CACHE_HOME=f"{scratch}/cache", HELM_CONFIG_HOME=f"{scratch}/config", HELM_DATA_HOME=f"{scratch}/data")
    text = kit.run(kit.HELM, "template", "edge", kit.CHART, "--namespace", NAMESPACE, "--values", "-", env=environment, input=yaml.safe_dump(values))
    return [one for one in yaml.safe_load_all(text) if one]


def pod_of(objects, network=None):
    template = next(one for one in objects if one["kind"] == "Deployment")["spec"]["template"]
    return Pod(template["spec"], objects, network)


def start_bridge(pod):
    image = kit.image()
    return pod.start("bridge", image["process"], image["rootfs"])


def start_haproxy(pod):
    """HAProxy 3.2 as the manifest's user, in a root of its own that has nothing but its program."""
    program = kit.needs(kit.HAPROXY, "HAProxy 3.2").parent
    root = pod.folder / "haproxy-root"
    root.mkdir()
    image = {"user": {"uid": 99, "gid": 99}, "entrypoint": [], "cmd": [], "env": ["PATH=/usr/bin"]}
    spec = pod.spec_of("haproxy")
    # What the wrapper beside the program does.
    loader = ["/haproxy/lib/haproxy", "--inhibit-cache", "--argv0", "haproxy", "--library-path", "/haproxy/lib", "/haproxy/haproxy.bin"]
    spec["command"] = loader + spec["command"][1:]
    return pod.start("haproxy", image, root, [bind(program, "/haproxy")])


class Decisions:
    """The Python example, and its name in DNS, in a pod's network."""

    def __init__(self, network):
        self.dns = Dns(network, f"decisions.{NAMESPACE}.svc.cluster.local", ["127.0.0.1"])
        command = network.command(kit.needs(kit.PYTHON, "Python with grpcio"), kit.ROOT / "examples/python/decision_service.py", "--listen", "127.0.0.1:50051")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL)
        assert "listening on" in self.process.stdout.readline(), "the decision service does not start"

    def close(self):
        self.process.terminate()
        self.process.wait(10)
        self.process.stdout.close()
        self.dns.close()


def ask(network, port, path, **headers):
    """(status, body) of a request to HAProxy."""
    with network.entered():
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.connect()
    connection.request("GET", path, headers=headers)
    response = connection.getresponse()
    body = response.read().decode()
    connection.close()
    return response.status, body


class Load:
    """Clients that ask without a pause, each on a connection of its own for each request, so that HAProxy may leave in between."""

    def __init__(self, network, port, clients=4):
        self.network, self.port = network, port
        self.answers, self.failures, self.stopped = [], [], threading.Event()
        self.threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(clients)]
        for thread in self.threads:
            thread.start()

    def _ask(self):
        while not self.stopped.is_set():
            try:
                self.answers.append((time.monotonic(), *ask(self.network, self.port, "/shop")))
            except (OSError, http.client.HTTPException) as error:
                self.failures.append((time.monotonic(), error))
                time.sleep(0.01)

    def stop(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join(20)

    def wait_for(self, more):
        """Until there are so many more answers."""
        goal = len(self.answers) + more
        until(lambda: len(self.answers) >= goal, lambda: f"{len(self.answers)} answers, failures: {self.failures[-3:]}")


VERDICT = re.compile(r'spoe_error=(\S+) bridge=(\S+) reason="([^"]*)"')


def without_verdict(haproxy):
    """Lines of HAProxy's log about requests of which the decision service said nothing."""
    logged = [(line, VERDICT.search(line)) for line in haproxy.lines if "spoe_error=" in line]
    assert logged, "HAProxy has logged no request"
    return [line for line, found in logged if found.group(1) != "-" or found.group(2) != "-" or found.group(3) in ("", "-")]
