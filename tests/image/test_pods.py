"""The chart's pods, run by runc as their manifests ask: user, file system, rights, limits, probes, volumes; how they start, change and end."""

import json
import pathlib
import signal
import stat
import time
import unittest

import yaml

import kit
import oci
from network import Network
from pod import until
from scene import Decisions, Load, ask, pod_of, rendered, start_bridge, start_haproxy, without_verdict

HTTP = 8080
ADMIN_KEY = {"x-token": "let-me-in"}


def deciding(network):
    """Whether the service's word has come through: /admin takes a key, and not having it is a 403."""
    return ask(network, HTTP, "/admin/users")[0] == 403 and ask(network, HTTP, "/admin/users", **ADMIN_KEY)[0] == 200


class Sidecar(unittest.TestCase):
    """HAProxy and the bridge in one pod, over a Unix socket in an emptyDir."""

    def setUp(self):
        self.objects = rendered("sidecar", haproxy={"preStopSeconds": 1, "hardStopAfterSeconds": 5})
        self.pod = pod_of(self.objects)
        self.addCleanup(self.pod.close)

    def start(self):
        """In the kubelet's order; without a decision service, of which a sidecar's readiness must not depend."""
        self.bridge = start_bridge(self.pod)
        self.bridge.wait_started()
        self.haproxy = start_haproxy(self.pod)
        self.haproxy.wait_started("readinessProbe")

    def decide(self):
        service = Decisions(self.pod.network)
        self.addCleanup(service.close)
        until(lambda: deciding(self.pod.network), lambda: "no decisions:\n" + "\n".join(self.bridge.lines + self.haproxy.lines))

    def test_it_starts_decides_and_ends_under_load(self):
        self.start()
        self.assertEqual([self.bridge.probe(kind) for kind in ("livenessProbe", "readinessProbe")], [200, 200])
        self.assertEqual(ask(self.pod.network, HTTP, "/admin/users")[0], 503, "nothing passes without a verdict")
        self.decide()
        self.assert_rights()
        self.assert_socket()

        del self.haproxy.lines[:]
        load = Load(self.pod.network, HTTP)
        load.wait_for(200)
        self.assert_memory()
        # The pod is deleted: preStop, then SIGUSR1, which HAProxy's image asks for; the sidecar's turn is when HAProxy has ended.
        begin = time.monotonic()
        time.sleep(float(self.pod.spec_of("haproxy")["lifecycle"]["preStop"]["exec"]["command"][1]))
        self.assertEqual(self.bridge.probe("readinessProbe"), 200)
        self.haproxy.signal(signal.SIGUSR1)
        self.haproxy.wait(20)
        self.bridge.signal(signal.SIGTERM)
        self.assertEqual(self.bridge.wait(20), 0, "\n".join(self.bridge.lines))
        took = time.monotonic() - begin
        load.stop()
        self.assertLess(took, self.pod.spec["terminationGracePeriodSeconds"])
        self.assertEqual(without_verdict(self.haproxy), [])

    def test_a_changed_config_map_is_taken_over(self):
        self.start()
        self.decide()
        config_map = next(one for one in self.objects if one["kind"] == "ConfigMap" and "bridge.yaml" in one["data"])
        config = yaml.safe_load(config_map["data"]["bridge.yaml"])
        config["backends"]["decisions"]["max_in_flight"] = 100
        self.pod.config_map_changed("bridge-config", {"bridge.yaml": yaml.safe_dump(config)})
        self.bridge.wait_for("configuration reloaded")
        self.assertTrue(deciding(self.pod.network))

        self.pod.config_map_changed("bridge-config", {"bridge.yaml": "backends: {}"})
        self.bridge.wait_for("configuration not reloaded")
        self.assertEqual(self.bridge.probe("readinessProbe"), 200)
        self.assertTrue(deciding(self.pod.network))
        shown = json.loads(self.bridge.get("admin", "/config")[1])
        self.assertEqual(shown["config"]["backends"]["decisions"]["max_in_flight"], 100)

    def assert_rights(self):
        for container, uid in (self.bridge, 65532), (self.haproxy, 99):
            state = json.loads(kit.run("runc", "state", container.identity))
            status = dict(line.split(":\t", 1) for line in pathlib.Path(f"/proc/{state['pid']}/status").read_text().splitlines() if ":\t" in line)
            self.assertEqual(status["Uid"].split(), [str(uid)] * 4)
            self.assertEqual(status["Groups"].split(), ["65532"])
            self.assertEqual({int(status[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")}, {0})
            self.assertEqual((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"))
            mounts = [line.split() for line in pathlib.Path(f"/proc/{state['pid']}/mountinfo").read_text().splitlines()]
            read_only = {fields[4]: "ro" in fields[5].split(",") for fields in mounts}
            self.assertTrue(read_only["/"])
            self.assertFalse(read_only["/run/spop-bridge"])

    def assert_socket(self):
        socket = (self.pod.volumes["bridge-socket"] / "spop.sock").stat()
        self.assertEqual((socket.st_uid, socket.st_gid, stat.S_IMODE(socket.st_mode)), (65532, 65532, 0o660))

    def assert_memory(self):
        limit = oci.size(self.bridge.spec["resources"]["limits"]["memory"])
        used, working_set = self.bridge.memory()
        print(f"memory under load: working set {working_set / 2**20:.1f} MiB, of a limit of {limit / 2**20:.0f} MiB")
        self.assertLess(working_set, limit / 2)


class Deployment(unittest.TestCase):
    """Two pods of bridges, and HAProxy in a third, over TCP. They share a network here, so each has ports of its own."""

    def setUp(self):
        self.network = Network()
        self.addCleanup(self.network.close)
        self.pods = [self.pod(9000 + number, 9902 + number) for number in range(2)]
        self.bridges = [start_bridge(pod) for pod in self.pods]

    def pod(self, spop, admin):
        drain = {"delay": "3s", "grace_period": "5s"}
        pod = pod_of(rendered("deployment", {"drain": drain}, ports={"spop": spop, "admin": admin}), self.network)
        self.addCleanup(pod.close)
        return pod

    def start_haproxy(self):
        objects = rendered("sidecar")
        files = next(one for one in objects if one["kind"] == "ConfigMap" and "haproxy.cfg" in one["data"])["data"]
        sidecar = next(line for line in files["haproxy.cfg"].splitlines() if "unix@/run/spop-bridge" in line)
        servers = [sidecar.replace("server bridge unix@/run/spop-bridge/spop.sock", f"server bridge{number} 127.0.0.2:{9000 + number}") for number in range(2)]
        files["haproxy.cfg"] = files["haproxy.cfg"].replace(sidecar, "\n".join(servers))
        pod = pod_of(objects, self.network)
        self.addCleanup(pod.close)
        haproxy = start_haproxy(pod)
        haproxy.wait_started("readinessProbe")
        return haproxy

    def test_one_of_two_leaves_under_load(self):
        for bridge in self.bridges:
            bridge.wait_started()
        haproxy = self.start_haproxy()
        service = Decisions(self.network)
        self.addCleanup(service.close)
        until(lambda: deciding(self.network), lambda: "no decisions:\n" + "\n".join(self.bridges[0].lines + haproxy.lines))
        del haproxy.lines[:]
        load = Load(self.network, HTTP)
        load.wait_for(200)

        leaving, staying = self.bridges
        begin = time.monotonic()
        leaving.signal(signal.SIGTERM)
        until(lambda: leaving.probe("readinessProbe") == 503, lambda: "it stays ready")
        self.assertEqual(leaving.get("admin", "/ready")[1].strip(), "draining: the bridge is stopping")
        self.assertEqual((leaving.probe("livenessProbe"), staying.probe("readinessProbe")), (200, 200))
        self.assertEqual(leaving.wait(20), 0, "\n".join(leaving.lines))
        took = time.monotonic() - begin
        load.wait_for(200)
        load.stop()
        self.assertLess(took, self.pods[0].spec["terminationGracePeriodSeconds"])
        self.assertEqual(load.failures, [])
        self.assertEqual(without_verdict(haproxy), [])


if __name__ == "__main__":
    unittest.main()
