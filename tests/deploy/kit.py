"""What the tests of deploy/ share: where things are, Helm and kubectl, rendered objects."""

import functools
import os
import pathlib
import subprocess
import unittest

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = ROOT / "tests/deploy"
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm/spop-bridge"
TOOLS = ROOT / ".cache/kubernetes"
HELMS = ("helm3", "helm4")
NAMESPACE = "edge"
IN_CI = os.environ.get("CI") in ("true", "1")

Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def needs(found, what):
    """Skips the test by name without `what`; in CI nothing may be skipped."""
    if not found:
        if IN_CI:
            raise AssertionError(f"CI=true: nothing may be skipped, but {what} is not here")
        raise unittest.SkipTest(f"{what} is not here (tests/tools/setup.sh)")
    return found


def bridge():
    """The bridge's program: $SPOP_BRIDGE, else what cargo has built."""
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return needs(first(os.environ.get("SPOP_BRIDGE"), target / "debug/spop-bridge", target / "release/spop-bridge"), "spop-bridge, built")


def haproxy(line):
    return needs(first(os.environ.get("HAPROXY_" + line.replace(".", "_")), ROOT / ".cache/haproxy" / line / "haproxy"), f"HAProxy {line}")


def promtool():
    return needs(first(ROOT / ".cache/prometheus/promtool"), "promtool")


def first(*paths):
    return next((str(path) for path in paths if path and os.access(path, os.X_OK)), None)


def run(*command, **options):
    """(exit code, everything it said)."""
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, **options)
    return done.returncode, done.stdout


def helm(version, *args):
    """Helm, with folders of its own: the user's repositories and plugins are none of ours."""
    scratch = ROOT / ".cache/kubernetes/home"
    environment = dict(os.environ, HELM_CACHE_HOME=f"{scratch}/cache", HELM_CONFIG_HOME=f"{scratch}/config", HELM_DATA_HOME=f"{scratch}/data")
    return run(TOOLS / version, *args, env=environment)


@functools.lru_cache(maxsize=None)
def notes_of(path):
    """What NOTES.txt says. Only Helm 4 does this without a cluster."""
    code, output = helm("helm4", "install", "spop-bridge", CHART, "--dry-run=client", "--namespace", NAMESPACE, "--values", path)
    if code != 0:
        raise AssertionError(f"helm4 install --dry-run=client with {path.name}:\n{output}")
    return output.split("NOTES:", 1)[1]


def values_files():
    return sorted((HERE / "values").glob("*.yaml"))


def notes(path, name):
    """Words after `# name:` in a values file."""
    return [word for line in path.read_text().splitlines() if line.startswith(f"# {name}:") for word in line.split(":", 1)[1].split()]


@functools.lru_cache(maxsize=None)
def rendered(path, version="helm4", release="spop-bridge", chart=CHART):
    code, output = helm(version, "template", release, chart, "--namespace", NAMESPACE, "--values", path)
    if code != 0:
        raise AssertionError(f"{version} template with {path.name}:\n{output}")
    return output


def objects(text):
    return [found for found in yaml.load_all(text, Loader) if found]


@functools.lru_cache(maxsize=None)
def kustomized(path):
    code, output = run(TOOLS / "kubectl", "kustomize", path)
    if code != 0:
        raise AssertionError(f"kubectl kustomize {path}:\n{output}")
    return output


def kustomizations():
    """Folders that `kubectl apply -k` takes: components and bases only make sense in others."""
    return sorted(path.parent for path in [*DEPLOY.glob("kustomize/overlays/*/kustomization.yaml"), *DEPLOY.glob("example/*/kustomization.yaml")])


def manifests():
    return sorted((DEPLOY / "manifests").glob("*.yaml"))


@functools.lru_cache(maxsize=None)
def everything():
    """Every set of objects that somebody may apply: (name, objects, what is given by others, whether restricted)."""
    sets = [(f"values/{path.name}", objects(rendered(path)), given(path), not notes(path, "pod security")) for path in values_files()]
    sets += [(str(path.relative_to(ROOT)), objects(path.read_text()), set(), True) for path in manifests()]
    sets += [(str(path.relative_to(ROOT)), objects(kustomized(path)), set(), True) for path in kustomizations()]
    sets += [("consumer", objects(rendered(consumer_values(), release="shop", chart=consumer())), set(), True)]
    return sets


def given(path):
    return set(notes(path, "given"))


def consumer_values():
    return HERE / "consumer/values.yaml"


@functools.lru_cache(maxsize=None)
def consumer():
    """A chart that has ours as a dependency, put together as `helm dependency build` would."""
    import atexit
    import shutil
    import tempfile
    folder = pathlib.Path(tempfile.mkdtemp(prefix="consumer-"))
    atexit.register(shutil.rmtree, folder)
    shutil.copytree(HERE / "consumer", folder / "consumer")
    shutil.copytree(CHART, folder / "consumer/charts/spop-bridge")
    return folder / "consumer"


def pods(objects):
    """(owner, pod metadata, pod spec) of every workload."""
    for owner in objects:
        if owner["kind"] in ("Deployment", "DaemonSet", "StatefulSet", "Job"):
            template = owner["spec"]["template"]
            yield owner, template.get("metadata", {}), template["spec"]
        elif owner["kind"] == "Pod":
            yield owner, owner["metadata"], owner["spec"]


def containers(spec):
    return spec.get("initContainers", []) + spec.get("containers", []) + spec.get("ephemeralContainers", [])


def label(found):
    return f"{found['kind']}/{found['metadata']['name']}"
