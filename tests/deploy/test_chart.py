"""The chart by itself: lint, rendering by Helm 3 and 4, values that are refused, README and NOTES."""

import pathlib
import re
import tempfile
import unittest

import yaml

import kit
from kit import CHART, HELMS, helm, objects, rendered, values_files


class Chart(unittest.TestCase):
    def test_lint(self):
        for version in HELMS:
            for path in values_files():
                with self.subTest(helm=version, values=path.name):
                    code, output = helm(version, "lint", "--strict", "--quiet", CHART, "--namespace", kit.NAMESPACE, "--values", path)
                    self.assertEqual(code, 0, output)

    def test_both_helms_render_the_same(self):
        for path in values_files():
            with self.subTest(values=path.name):
                by_label = [{kit.label(found): found for found in objects(rendered(path, version))} for version in HELMS]
                self.assertEqual(*by_label)

    def test_both_helms_render_the_same_in_another_chart(self):
        by_label = [{kit.label(found): found for found in objects(rendered(kit.consumer_values(), version, "shop", kit.consumer()))} for version in HELMS]
        self.assertEqual(*by_label)
        self.assertEqual(set(by_label[0]), {"ConfigMap/shop-spop-bridge", "Deployment/shop-haproxy"})

    def test_every_value_is_tried(self):
        """Each mode, each way to expose a DaemonSet, and each key is in some file of the matrix."""
        files = [yaml.safe_load(path.read_text()) for path in values_files()]
        self.assertEqual({each.get("mode", "deployment") for each in files}, {"deployment", "daemonset", "sidecar"})
        self.assertEqual({each.get("daemonSet", {}).get("expose", "service") for each in files}, {"service", "hostPort", "hostPath"})
        defaults = yaml.safe_load((CHART / "values.yaml").read_text())
        tried = set().union(*(set(leaves(each)) for each in files))
        schema = set(leaves(defaults))
        # Names, resources and security contexts are passed on as they are.
        as_is = re.compile(r"^(resources|securityContext|podSecurityContext|haproxy\.(resources|securityContext)|.*image|minReadySeconds|"
                           r"certManager\.(duration|renewBefore)|autoscaling\.|prometheusRule|dashboard|otel\.samplerArg|podDisruptionBudget\.max|"
                           r"haproxy\.(spoe|preStopSeconds)|serviceAccount\.create)")
        untried = {key for key in schema if not any(each == key or each.startswith(key + ".") for each in tried)}
        self.assertEqual({key for key in untried if not as_is.match(key)}, set())

    def test_notes(self):
        """Where they tell HAProxy to connect is a port of a Service that was rendered."""
        for path in values_files():
            with self.subTest(values=path.name):
                said = kit.notes_of(path)
                self.assertNotIn("%!", said)
                services = {found["metadata"]["name"]: found for found in objects(rendered(path)) if found["kind"] == "Service"}
                for name, port in re.findall(r"(?:server|server-template) bridge (?:\d+ )?([a-z0-9-]+)\.edge\.svc\.[a-z0-9.]+:(\d+)", said):
                    self.assertIn(int(port), [each["port"] for each in services[name]["spec"]["ports"]])

    def test_package(self):
        for version in HELMS:
            with self.subTest(helm=version), tempfile.TemporaryDirectory() as folder:
                code, output = helm(version, "package", CHART, "--destination", folder)
                self.assertEqual(code, 0, output)
                package = next(pathlib.Path(folder).glob("*.tgz"))
                path = kit.HERE / "values/deployment-full.yaml"
                self.assertEqual(rendered(path, version, chart=package), rendered(path, version))

    def test_version_is_that_of_the_program(self):
        cargo = (kit.ROOT / "Cargo.toml").read_text()
        version = re.search(r'^version = "(.*)"', cargo, re.M)[1]
        self.assertEqual(yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"], version)


class Refused(unittest.TestCase):
    """Values that cannot work, each with words of the message."""

    def test_refused(self):
        for case in yaml.safe_load((kit.HERE / "refused.yaml").read_text()):
            # The schema is the same for both; so are the templates.
            for version in HELMS:
                with self.subTest(case["name"], helm=version), tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
                    values = case["values"]
                    if not case.get("bare"):
                        values.setdefault("config", {}).setdefault("backends", {}).setdefault("decisions", {})["endpoints"] = ["dns:///decisions:50051"]
                    yaml.safe_dump(values, file)
                    file.flush()
                    code, output = helm(version, "template", "spop-bridge", CHART, "--values", file.name)
                    self.assertNotEqual(code, 0, "it was taken")
                    self.assertIn(case["says"], output)


def leaves(tree, prefix=""):
    for key, value in tree.items():
        if isinstance(value, dict) and value and prefix + key not in ("config", "otel.env"):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key


if __name__ == "__main__":
    unittest.main()
