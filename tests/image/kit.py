"""What the tests of the image share: where things are, and how a program is run."""

import json
import os
import pathlib
import subprocess
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache/image"
CHART = pathlib.Path(os.environ.get("CHART", ROOT / "deploy/helm/spop-bridge"))
HELM = ROOT / ".cache/kubernetes/helm4"
HAPROXY = pathlib.Path(os.environ.get("HAPROXY_3_2", ROOT / ".cache/haproxy/3.2/haproxy"))
PYTHON = ROOT / ".cache/python/bin/python"
IN_CI = os.environ.get("CI") in ("true", "1")


def needs(path, what):
    """Skips the test by name without `what`; in CI nothing may be skipped."""
    if not os.access(path, os.X_OK):
        if IN_CI:
            raise AssertionError(f"CI=true: nothing may be skipped, but {what} is not at {path}")
        raise unittest.SkipTest(f"{what} is not at {path} (tests/tools/setup.sh, tests/tools/get-image-tools.sh)")
    return path


def run(*command, **options):
    """What it prints; an error with everything it said if it fails."""
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=300, **options)
    if done.returncode:
        raise AssertionError(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def image():
    """What the image says of itself, and its files: as tests/tools/build-test-image.sh has left them."""
    layout, rootfs = CACHE / "oci", (CACHE / "bundle/rootfs").resolve()  # runc wants no symlinks
    needs(rootfs, "the unpacked image")
    blob = lambda of: json.loads((layout / "blobs" / of["digest"].replace(":", "/")).read_text())
    manifest = blob(json.loads((layout / "index.json").read_text())["manifests"][0])
    config = blob(manifest["config"])["config"]
    uid, gid = config["User"].split(":")
    process = {"user": {"uid": int(uid), "gid": int(gid)}, "entrypoint": config["Entrypoint"], "cmd": config["Cmd"], "env": config.get("Env", [])}
    layers = [layout / "blobs" / layer["digest"].replace(":", "/") for layer in manifest["layers"]]
    return {"config": config, "process": process, "rootfs": rootfs, "layers": layers}
