"""What is inside of ConfigMaps and rules, by the programs that read it: the bridge, HAProxy, promtool."""

import itertools
import json
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

import yaml

import kit

# Lines of HAProxy that have `mode spop`, which everything here says.
LINES = ("3.2", "3.4")


def config_maps(name):
    """(set, its objects, ConfigMap) wherever there is a file of that name."""
    for where, objects, _, _ in kit.everything():
        for found in objects:
            if found["kind"] == "ConfigMap" and name in found.get("data", {}):
                yield where, objects, found


class Bridge(unittest.TestCase):
    def test_check(self):
        """`spop-bridge check` takes each configuration, with the certificates and variables that the pods have."""
        program = kit.bridge()
        tried = 0
        with tempfile.TemporaryDirectory() as folder:
            certificates(pathlib.Path(folder))
            for where, objects, found in config_maps("bridge.yaml"):
                with self.subTest(where):
                    text = found["data"]["bridge.yaml"].replace("/etc/spop-bridge-tls/", f"{folder}/")
                    path = pathlib.Path(folder, "bridge.yaml")
                    path.write_text(text)
                    environment = {"PATH": os.environ["PATH"], "DECISIONS_TOKEN": "t"}
                    code, output = kit.run(program, "check", "--config", path, env=environment)
                    self.assertEqual(code, 0, f"{output}\n{text}")
                    self.assertNotIn("warning", output, text)
                    tried += 1
        self.assertGreaterEqual(tried, 20)

    def test_files_are_mounted(self):
        """Certificates that a configuration names lie below a mount of the bridge's container."""
        for where, objects, found in config_maps("bridge.yaml"):
            for _, _, spec in kit.pods(objects):
                for container in kit.containers(spec):
                    if container["name"] == "bridge":
                        mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
                        for path in re.findall(r"/etc/spop-bridge-tls/[a-z]+", found["data"]["bridge.yaml"]):
                            with self.subTest(where, path=path):
                                self.assertIn(path, mounts)

    def test_ports(self):
        """Where the configuration listens is where the pod's ports, or its socket, are."""
        for where, objects, found in config_maps("bridge.yaml"):
            config = yaml.load(found["data"]["bridge.yaml"], kit.Loader)
            for _, _, spec in kit.pods(objects):
                for container in (each for each in kit.containers(spec) if each["name"] == "bridge"):
                    with self.subTest(where):
                        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
                        self.assertTrue(config["admin"]["bind"].endswith(f":{ports['admin']}"))
                        binds = [listener["bind"] for listener in config["listeners"]]
                        if "spop" in ports:
                            self.assertTrue(any(bind.endswith(f":{ports['spop']}") for bind in binds), binds)
                        else:
                            self.assertIn("unix:/run/spop-bridge/spop.sock", binds)
                            self.assertIn("/run/spop-bridge", [mount["mountPath"] for mount in container["volumeMounts"]])

    def test_drain_fits(self):
        for where, objects, found in config_maps("bridge.yaml"):
            drain = yaml.load(found["data"]["bridge.yaml"], kit.Loader)["drain"]
            for _, _, spec in kit.pods(objects):
                with self.subTest(where):
                    if any(container["name"] == "bridge" for container in kit.containers(spec)):
                        self.assertLess(seconds(drain["delay"]) + seconds(drain["grace_period"]) + 2, spec["terminationGracePeriodSeconds"]
                                        if "terminationGracePeriodSeconds" in spec else 30)


class Haproxy(unittest.TestCase):
    def test_check(self):
        """HAProxy takes each haproxy.cfg without a warning: that of the image, and the next one with long-term support."""
        programs = [kit.haproxy(line) for line in LINES]
        tried = 0
        for (where, _, found), program in itertools.product(config_maps("haproxy.cfg"), programs):
            with self.subTest(where, program=program), tempfile.TemporaryDirectory() as folder:
                for name, content in found["data"].items():
                    pathlib.Path(folder, name).write_text(content)
                code, output = kit.run(program, "-c", "-f", f"{folder}/haproxy.cfg", env=dict(os.environ, POD_NAMESPACE="edge"))
                self.assertEqual(code, 0, output)
                self.assertNotRegex(output, "WARNING|ALERT")
                tried += 1
        self.assertGreaterEqual(tried, 6 * len(LINES))

    def test_what_the_notes_say(self):
        """The backend of NOTES.txt, put into a main file, is one that HAProxy takes."""
        programs = [kit.haproxy(line) for line in LINES]
        tried = 0
        for path in kit.values_files():
            said = kit.notes_of(path)
            if "backend spop-bridge" not in said:
                continue
            with self.subTest(path.name), tempfile.TemporaryDirectory() as folder:
                sections = re.search(r"^    (?:resolvers|backend).*?(?=^\S)", said, re.M | re.S)[0]
                text = "defaults\n  timeout connect 1s\n  timeout client 1s\n  timeout server 1s\nfrontend www\n  mode http\n  bind :8080\n"
                text += "  filter spoe engine bridge config spoe.cfg\n" + sections
                pathlib.Path(folder, "haproxy.cfg").write_text("global\n  default-path config\n" + text)
                pathlib.Path(folder, "spoe.cfg").write_text((kit.DEPLOY / "haproxy/spoe-3.1.cfg").read_text())
                certificates(pathlib.Path(folder))
                for name in ("bridge-ca.pem", "haproxy.pem"):
                    pathlib.Path(folder, name).write_text("".join(pathlib.Path(folder, "client", part).read_text() for part in ("tls.crt", "tls.key")))
                for program in programs:
                    code, output = kit.run(program, "-c", "-f", f"{folder}/haproxy.cfg", cwd=folder, env=dict(os.environ, NODE_IP="192.0.2.1"))
                    self.assertEqual(code, 0, output)
                    self.assertNotRegex(output, "WARNING|ALERT")
                tried += 1
        self.assertGreaterEqual(tried, 6)


class Monitoring(unittest.TestCase):
    def test_rules(self):
        program = kit.promtool()
        tried = set()
        for where, objects, _, _ in kit.everything():
            for found in objects:
                if found["kind"] == "PrometheusRule" and json.dumps(found["spec"]) not in tried:
                    tried.add(json.dumps(found["spec"]))
                    with self.subTest(where), tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
                        yaml.safe_dump(found["spec"], file)
                        file.flush()
                        code, output = kit.run(program, "check", "rules", file.name)
                        self.assertEqual(code, 0, output)
        self.assertGreaterEqual(len(tried), 3)

    def test_rules_are_all_there(self):
        """The chart's rules are those of deploy/prometheus, but for what the values take away or add."""
        source = yaml.load((kit.DEPLOY / "prometheus/rules.yaml").read_text(), kit.Loader)
        rules = lambda values: next(found for found in kit.objects(kit.rendered(kit.HERE / "values" / values)) if found["kind"] == "PrometheusRule")
        self.assertEqual(rules("daemonset-full.yaml")["spec"], source)
        changed = [rule for group in rules("deployment-full.yaml")["spec"]["groups"] for rule in group["rules"]]
        self.assertEqual({rule["alert"] for group in source["groups"] for rule in group["rules"] if "alert" in rule}
                         - {rule["alert"] for rule in changed if "alert" in rule}, {"SpopBridgeAbsent"})
        for rule in changed:
            if "alert" in rule:
                self.assertTrue(rule["annotations"]["runbook_url"].startswith("https://wiki.example.com/spop-bridge/docs/runbooks.md#"))

    def test_dashboard_is_whole(self):
        source = json.loads((kit.DEPLOY / "grafana/spop-bridge.json").read_text())
        tried = 0
        for where, _, found in config_maps("spop-bridge.json"):
            with self.subTest(where):
                self.assertEqual(json.loads(found["data"]["spop-bridge.json"]), source)
                tried += 1
        self.assertGreaterEqual(tried, 4)


def certificates(folder):
    """tls.crt, tls.key and ca.crt for each side, as in a Secret of cert-manager."""
    for side in ("listener", "client"):
        (folder / side).mkdir()
        made = subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1", "-subj", "/CN=test",
                               "-addext", "subjectAltName=DNS:test", "-keyout", folder / side / "tls.key", "-out", folder / side / "tls.crt"],
                              capture_output=True, text=True)
        assert made.returncode == 0, made.stderr
        (folder / side / "ca.crt").write_text((folder / side / "tls.crt").read_text())


def seconds(text):
    number, unit = re.fullmatch(r"(\d+)(us|ms|s|m)", text).groups()
    return int(number) * {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60}[unit]


if __name__ == "__main__":
    unittest.main()
