"""Everything that somebody may apply, by schema, by Pod Security level, and by whether its names fit together."""

import io
import unittest

import kubernetes_validate
import yamllint.config
import yamllint.linter
from cloudcoil.models.cert_manager import v1 as cert_manager
from cloudcoil.models.prometheus_operator import v1 as prometheus_operator

import kit
import pod_security
import references

# The oldest that the chart takes, and the newest that there is.
VERSIONS = ("1.29", kubernetes_validate.latest_version())
MODELS = {
    "PodMonitor": prometheus_operator.PodMonitor,
    "ServiceMonitor": prometheus_operator.ServiceMonitor,
    "PrometheusRule": prometheus_operator.PrometheusRule,
    "Certificate": cert_manager.Certificate,
}


class Objects(unittest.TestCase):
    maxDiff = None

    def test_kubernetes_schemas(self):
        seen = set()
        for name, objects, _, _ in kit.everything():
            for found in objects:
                if found["kind"] in MODELS or repr(found) in seen:
                    continue
                seen.add(repr(found))
                for version in VERSIONS:
                    with self.subTest(name, object=kit.label(found), version=version):
                        kubernetes_validate.validate(found, version, strict=True)

    def test_custom_resources(self):
        tried = set()
        for name, objects, _, _ in kit.everything():
            for found in objects:
                if found["kind"] in MODELS:
                    tried.add(found["kind"])
                    with self.subTest(name, object=kit.label(found)):
                        model = MODELS[found["kind"]].model_validate(found)
                        # The models drop what they do not know, so what comes out must be what went in.
                        self.assertEqual(model.model_dump(by_alias=True, exclude_unset=True, mode="json"), found)
        self.assertEqual(tried, set(MODELS))

    def test_restricted(self):
        for name, objects, _, restricted in kit.everything():
            for owner, metadata, spec in kit.pods(objects):
                with self.subTest(name, pods=kit.label(owner)):
                    found = list(pod_security.violations(metadata, spec))
                    if restricted:
                        self.assertEqual(found, [])
                    else:
                        self.assertNotEqual(found, [], "it is restricted after all: take away the note")

    def test_names_fit_together(self):
        for name, objects, given, _ in kit.everything():
            with self.subTest(name):
                self.assertEqual(list(references.problems(objects, given)), [])

    def test_pods(self):
        """What every pod of ours has, and no schema asks for."""
        for name, objects, _, _ in kit.everything():
            for owner, _, spec in kit.pods(objects):
                with self.subTest(name, pods=kit.label(owner)):
                    self.assertIs(spec["automountServiceAccountToken"], False)
                    # A Service named spop-bridge would set SPOP_BRIDGE_..., which are the bridge's flags.
                    self.assertIs(spec["enableServiceLinks"], False)
                    for container in kit.containers(spec):
                        self.assertIs(container["securityContext"]["readOnlyRootFilesystem"], True)
                        self.assertNotIn("cpu", container.get("resources", {}).get("limits", {}))
                        self.assertRegex(container["image"], r"[^:]+(:[^:]+|@sha256:[0-9a-f]{64})$")

    def test_probes_never_restart_for_a_decision_service(self):
        """/ready may wait for a service that is `required`, which no restart brings back. As a sidecar nothing is required."""
        for name, objects, _, _ in kit.everything():
            for owner, _, spec in kit.pods(objects):
                for container in (each for each in kit.containers(spec) if each["name"] == "bridge"):
                    with self.subTest(name, pods=kit.label(owner)):
                        self.assertEqual(container["livenessProbe"]["httpGet"]["path"], "/live")
                        self.assertEqual(container["readinessProbe"]["httpGet"]["path"], "/ready")
                        started = "/ready" if "restartPolicy" in container else "/live"
                        self.assertEqual(container["startupProbe"]["httpGet"]["path"], started)

    def test_sidecars_are_native(self):
        tried = 0
        for name, objects, _, _ in kit.everything():
            for owner, _, spec in kit.pods(objects):
                bridge = next((each for each in spec.get("initContainers", []) if each["name"] == "bridge"), None)
                if bridge:
                    tried += 1
                    with self.subTest(name, pods=kit.label(owner)):
                        self.assertEqual(bridge["restartPolicy"], "Always")
                        self.assertEqual(bridge["startupProbe"]["httpGet"], {"path": "/ready", "port": "admin"})
                        self.assertEqual(spec["securityContext"]["fsGroup"], bridge["securityContext"]["runAsGroup"])
                        # HAProxy is another user, and has the socket's group by fsGroup only.
                        haproxy = next(each for each in spec["containers"] if each["name"] == "haproxy")
                        self.assertNotEqual(haproxy["securityContext"]["runAsUser"], bridge["securityContext"]["runAsUser"])
        self.assertGreaterEqual(tried, 6)

    def test_a_new_configuration_replaces_no_pods(self):
        """The pod templates do not depend on the bridge's configuration, which it watches; HAProxy's do on HAProxy's files."""
        values = kit.HERE / "values/sidecar.yaml"
        template = lambda *more: next(found["spec"]["template"] for found in kit.objects(
            kit.helm("helm4", "template", "x", kit.CHART, "--values", values, *more)[1]) if found["kind"] == "Deployment")
        self.assertEqual(template("--set", "config.backends.decisions.endpoints={http://other:1}"), template())
        self.assertNotEqual(template("--set", "haproxy.spoe=[bridge]"), template())


class Text(unittest.TestCase):
    def test_yamllint(self):
        config = yamllint.config.YamlLintConfig(file=str(kit.HERE / "yamllint.yaml"))
        texts = [(str(path.relative_to(kit.ROOT)), path.read_text()) for folder in (kit.DEPLOY, kit.HERE) for path in sorted(folder.rglob("*.yaml"))
                 if "templates" not in path.parts]
        texts += [(f"values/{path.name}", kit.rendered(path)) for path in kit.values_files()]
        for name, text in texts:
            with self.subTest(name):
                self.assertEqual([str(problem) for problem in yamllint.linter.run(io.StringIO(text), config)], [])


if __name__ == "__main__":
    unittest.main()
