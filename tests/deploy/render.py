#!/usr/bin/env python3
"""Writes what in deploy/ is made from something else: `.cache/deploy/bin/python tests/deploy/render.py`.

- the chart's copies of the alerts and the dashboard,
- the part of its values.schema.json that is the configuration's schema (`spop-bridge schema`),
- the table of values in its README.md,
- deploy/manifests/ and the rendered files of deploy/kustomize/.

test_generated.py holds all of it to what this makes.
"""

import itertools
import json
import re
import sys

import yaml

import kit

def generated():
    """Each file and what must be in it. One after the other: what comes later is rendered with what came before."""
    yield kit.CHART / "files/rules.yaml", (kit.DEPLOY / "prometheus/rules.yaml").read_text()
    yield kit.CHART / "files/dashboard.json", (kit.DEPLOY / "grafana/spop-bridge.json").read_text()
    yield kit.CHART / "values.schema.json", schema()
    yield kit.CHART / "README.md", readme()
    for form in ("deployment", "daemonset", "sidecar"):
        yield kit.DEPLOY / f"manifests/{form}.yaml", manifest(form)
    yield from kustomize()


# --- values.schema.json --------------------------------------------------------


def schema():
    code, output = kit.run(kit.bridge(), "schema")
    assert code == 0, output
    config = without_words(json.loads(output))
    # The chart adds listeners, and says itself what is missing, with an example.
    config.pop("required", None)
    config.pop("$schema", None)
    backend = config["properties"]["backends"]["additionalProperties"]
    backend.pop("required", None)
    backend["properties"]["endpoints"].pop("minItems", None)
    # The chart gives its listener a certificate.
    listener = config["properties"]["listeners"]["items"]
    listener["properties"]["tls"].pop("required")
    whole = json.loads((kit.CHART / "values.schema.json").read_text())
    whole["properties"]["config"] = config
    # What may be said of that one, without saying where it is.
    whole["properties"]["listener"] = {key: value for key, value in listener.items() if key != "required"}
    whole["properties"]["listener"]["properties"] = {key: value for key, value in listener["properties"].items() if key != "bind"}
    return json.dumps(whole, indent=2) + "\n"


def without_words(node, names=False):
    """The schema without its prose. `names`: keys are names of properties, not words of JSON Schema."""
    if isinstance(node, list):
        return [without_words(item) for item in node]
    if not isinstance(node, dict):
        return node
    prose = () if names else ("title", "description", "default", "examples", "x-units")
    return {key: without_words(value, names=not names and key in ("properties", "patternProperties"))
            for key, value in node.items() if key not in prose}


# --- README.md -----------------------------------------------------------------


def readme():
    text = (kit.CHART / "README.md").read_text()
    table = "\n".join(["| key | default | meaning |", "|---|---|---|", *(row(*entry) for entry in values())])
    return re.sub(r"(<!-- values -->\n).*(\n<!-- end -->)", lambda found: found[1] + table + found[2], text, flags=re.S)


def row(key, default, meaning):
    default = json.dumps(default, separators=(", ", ": ")) if default not in ("", {}, []) else ""
    default = f"`{default}`" if default else ""
    return f"| `{key}` | {default} | {meaning} |".replace("|  |", "| |")


def values():
    """(key, default, comment) of each key of values.yaml that has a comment, in order."""
    text = (kit.CHART / "values.yaml").read_text()
    defaults = yaml.safe_load(text)
    path, comment, found = [], [], []
    for line in text.splitlines():
        words = line.strip()
        if words.startswith("#"):
            comment.append(words.lstrip("# "))
            continue
        key = re.match(r"( *)([A-Za-z]+):", line)
        if key:
            depth = len(key[1]) // 2
            path = path[:depth] + [key[2]]
            if comment:
                found.append((".".join(path), at(defaults, path), " ".join(comment)))
        comment = []
    # A key whose own keys have comments is a heading: its comment stands, its default is theirs.
    keys = [key for key, _, _ in found]
    return [(key, "" if any(other.startswith(key + ".") for other in keys) else default, meaning) for key, default, meaning in found]


def at(tree, path):
    for key in path:
        tree = tree[key]
    return tree


# --- manifests and kustomize ---------------------------------------------------


def manifest(values, kinds=None, without=()):
    """Output of the chart as plain manifests: without Helm's labels, with the chart's comments."""
    path = kit.HERE / f"manifests/{values}.yaml"
    text = kit.rendered(path)
    text = re.sub(r"^ +(helm\.sh/chart|app\.kubernetes\.io/managed-by): .*\n", "", text, flags=re.M)
    # Of no use where nobody computes it anew.
    text = re.sub(r"^ +annotations:\n +spop-bridge/haproxy-config: .*\n", "", text, flags=re.M)
    documents = [part.strip("\n") for part in re.split(r"^---\n(?:# Source: .*\n)?", text, flags=re.M) if part.strip()]
    documents = [part for part in documents if kind(part) not in without and (kinds is None or kind(part) in kinds)]
    head = ["# Made by tests/deploy/render.py from deploy/helm: change the chart, not this file."]
    head += itertools.takewhile(lambda line: line.startswith("#"), path.read_text().splitlines())
    return "\n".join(head) + "\n---\n" + "\n---\n".join(sorted(documents, key=rank)) + "\n"


def kind(document):
    return yaml.load(document, kit.Loader)["kind"]


def rank(document):
    """In the order in which they are needed."""
    first = ["ServiceAccount", "ConfigMap", "Service", "Deployment", "DaemonSet"]
    return first.index(kind(document)) if kind(document) in first else len(first)


def kustomize():
    """Files of bases and components. ConfigMaps are made by kustomize itself, from the files that the chart puts into them."""
    folder = kit.DEPLOY / "kustomize"
    for form in ("deployment", "sidecar"):
        yield folder / f"base/{form}/workload.yaml", manifest(form, without=["ConfigMap"])
        for found in kit.objects(kit.rendered(kit.HERE / f"manifests/{form}.yaml")):
            if found["kind"] == "ConfigMap":
                for name, content in found["data"].items():
                    yield folder / f"base/{form}/{name}", content.rstrip() + "\n"
    yield folder / "components/autoscaling/hpa.yaml", manifest("components", ["HorizontalPodAutoscaler"])
    yield folder / "components/monitoring/pod-monitor.yaml", manifest("components", ["PodMonitor"])
    yield folder / "components/monitoring/rules.yaml", manifest("components", ["PrometheusRule"])


def main():
    for path, content in generated():
        if not path.exists() or path.read_text() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
            print(f"wrote {path.relative_to(kit.ROOT)}")


if __name__ == "__main__":
    sys.exit(main())
