"""Everything in deploy/, applied to a real Kubernetes API server at the Pod Security level restricted.

Runs by `make test-kubernetes`. With CHARTS=FOLDER, which has the charts kubernetes-ingress, haproxy
and haproxy-ingress unpacked, the recipes of deploy/ingress too.
"""

import os
import pathlib
import re
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "deploy"))
import kit  # noqa: E402
from cluster import TOOLS, Cluster, Refused  # noqa: E402

CHARTS = os.environ.get("CHARTS")
# Folder in deploy/ingress, and the chart that its values are for.
RECIPES = {
    "haproxytech-kubernetes-ingress": "kubernetes-ingress",
    "haproxytech-haproxy": "haproxy",
    "haproxy-ingress": "haproxy-ingress",
}
# What others bring and a pod is not admitted without; ConfigMaps and Secrets are only missed by the kubelet.
ADMISSION_WANTS = {
    "ServiceAccount": {"apiVersion": "v1"},
    "PriorityClass": {"apiVersion": "scheduling.k8s.io/v1", "value": 1000},
}


def setUpModule():
    global cluster
    kit.needs((TOOLS / "kube-apiserver").exists(), "kube-apiserver (tests/tools/get-kube-apiserver.sh)")
    cluster = Cluster()
    unittest.addModuleCleanup(cluster.stop)
    cluster.kubectl("apply", "--server-side", "-f", str(TOOLS / "crds"))
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")


class Forms(unittest.TestCase):
    maxDiff = None

    def test_everything(self):
        names = [name for name, *_ in kit.everything()]
        # Of each kind at least one: a glob that finds nothing must not pass.
        for part in ("values/", "deploy/manifests/", "deploy/kustomize/", "deploy/example/"):
            self.assertTrue([name for name in names if part in name], f"{part}: nothing to apply")
        for name, objects, given, restricted in kit.everything():
            with self.subTest(name):
                self.apply(name, objects, given, restricted)

    @unittest.skipUnless(CHARTS, "CHARTS=FOLDER says where the charts are")
    def test_ingress_recipes(self):
        for recipe, chart in RECIPES.items():
            for values in sorted((kit.DEPLOY / "ingress" / recipe).glob("*.yaml")):
                name = f"ingress/{recipe}/{values.name}"
                with self.subTest(name):
                    self.apply(name, kit.objects(kit.rendered(values, release="edge", chart=pathlib.Path(CHARTS) / chart)))

    def apply(self, name, objects, given=(), restricted=True):
        namespace = cluster.namespace(name_of(name), "restricted" if restricted else "privileged")
        objects = [in_namespace(found, namespace) for found in objects if found["kind"] != "Namespace"]
        self.assertTrue(objects)
        for kind, named in (found.split("/") for found in given):
            if kind in ADMISSION_WANTS:
                cluster.apply(namespace, [dict(ADMISSION_WANTS[kind], kind=kind, metadata={"name": named})])
        cluster.apply(namespace, objects)
        # What applies it again and again (GitOps) finds nothing to do.
        self.assertEqual(cluster.kubectl("diff", "--server-side", "-n", namespace, "-f", "-", stdin=objects), "")
        pods = [pod_of(*found) for found in kit.pods(objects)]
        for pod in pods:
            cluster.admit(namespace, pod)
        if not restricted:
            strict = cluster.namespace(f"{namespace}-strict")
            cluster.apply(strict, [in_namespace(found, strict) for found in objects if found["kind"] == "ServiceAccount"])
            with self.assertRaisesRegex(Refused, "violates PodSecurity"):
                for pod in pods:
                    cluster.admit(strict, in_namespace(pod, strict))


class Server(unittest.TestCase):
    """That this server refuses at all what it is asked here to let through."""

    def test_privileged_pod(self):
        namespace = cluster.namespace("privileged-pod")
        with self.assertRaisesRegex(Refused, 'violates PodSecurity "restricted:latest": privileged'):
            cluster.admit(namespace, a_pod({"privileged": True}))

    def test_workload_of_a_privileged_pod(self):
        namespace = cluster.namespace("privileged-workload")
        template = {"metadata": {"labels": {"app": "a"}}, "spec": a_pod({"privileged": True})["spec"]}
        spec = {"selector": {"matchLabels": {"app": "a"}}, "template": template}
        with self.assertRaisesRegex(Refused, "would violate PodSecurity"):
            cluster.apply(namespace, [{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": spec}])

    def test_unknown_fields(self):
        namespace = cluster.namespace("unknown-fields")
        for found, field in [
            ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "dataa": {}}, "dataa"),
            (a_monitor({"port": "admin", "intervall": "30s"}), "intervall"),
        ]:
            with self.subTest(field), self.assertRaisesRegex(Refused, field):
                cluster.apply(namespace, [found])

    def test_custom_resources(self):
        namespace = cluster.namespace("custom-resources")
        cluster.apply(namespace, [a_monitor({"port": "admin", "interval": "30s"})])
        with self.assertRaisesRegex(Refused, "interval"):
            cluster.apply(namespace, [a_monitor({"port": "admin", "interval": "30x"})])


def name_of(form):
    """A namespace's name."""
    return re.sub(r"[^a-z0-9]+", "-", form.lower()).strip("-")[-50:].strip("-")


def in_namespace(found, namespace):
    """In the namespace of this form, if it said one. Nothing in deploy/ reaches into another."""
    if "namespace" in found["metadata"]:
        found = dict(found, metadata=dict(found["metadata"], namespace=namespace))
    return found


def pod_of(owner, metadata, spec):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": dict(metadata, name=owner["metadata"]["name"]), "spec": spec}


def a_pod(security):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"},
            "spec": {"containers": [{"name": "a", "image": "a", "securityContext": security}]}}


def a_monitor(endpoint):
    return {"apiVersion": "monitoring.coreos.com/v1", "kind": "PodMonitor", "metadata": {"name": "a"},
            "spec": {"selector": {}, "podMetricsEndpoints": [endpoint]}}


if __name__ == "__main__":
    unittest.main()
