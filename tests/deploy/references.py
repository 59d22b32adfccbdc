"""Names that one object says and another must have: volumes, ConfigMaps, Secrets, ports, selectors, variables."""

import re

from kit import containers, label, pods

# What nothing in the same set needs to use.
UNUSED = {"Deployment", "DaemonSet", "Service", "PodDisruptionBudget", "HorizontalPodAutoscaler", "NetworkPolicy", "PodMonitor", "ServiceMonitor",
          "PrometheusRule", "Certificate"}


def problems(objects, given):
    """What does not fit together. `given`: `Kind/name` of things that others bring, or use."""
    names = [label(found) for found in objects]
    for name in {name for name in names if names.count(name) > 1}:
        yield f"{name} is there twice"
    there, used = set(names) | given, set()
    there |= {f"Secret/{found['spec']['secretName']}" for found in objects if found["kind"] == "Certificate"}

    for owner, metadata, spec in pods(objects):
        for problem in of_pod(spec):
            yield f"{label(owner)}: {problem}"
        if not selects(owner["spec"]["selector"].get("matchLabels"), metadata):
            yield f"{label(owner)}: its selector is not that of its pods"
        for name in needed(spec):
            used.add(name)
            if name not in there:
                yield f"{label(owner)}: {name} is nowhere"
    for found in objects:
        for problem in of_selecting(found, objects, used):
            yield f"{label(found)}: {problem}"
    for found in objects:
        if found["kind"] not in UNUSED and label(found) not in used | given and not found["metadata"].get("labels", {}).get("grafana_dashboard"):
            yield f"{label(found)} is not used"
    for name in given - used - set(names):
        yield f"{name} is given, but not used"


def of_pod(spec):
    volumes = [volume["name"] for volume in spec.get("volumes", [])]
    mounted = set()
    yield from twice("volume", volumes)
    yield from twice("container", [container["name"] for container in containers(spec)])
    yield from twice("port", [port["name"] for container in containers(spec) for port in container.get("ports", [])])
    yield from twice("port number", [port["containerPort"] for container in containers(spec) for port in container.get("ports", [])])
    for container in containers(spec):
        mounts = container.get("volumeMounts", [])
        mounted |= {mount["name"] for mount in mounts}
        for problem in of_container(container, mounts, volumes):
            yield f"container {container['name']}: {problem}"
    for name in set(volumes) - mounted:
        yield f"volume {name} is mounted nowhere"


def of_container(container, mounts, volumes):
    yield from twice("mount path", [mount["mountPath"] for mount in mounts])
    for mount in mounts:
        if mount["name"] not in volumes:
            yield f"volume {mount['name']} is nowhere"
        if "subPath" in mount:
            yield f"{mount['mountPath']} has a subPath: the file would never change"
    for port in container.get("ports", []):
        if not re.fullmatch(r"(?=.*[a-z])[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?", port["name"]):
            yield f"port name {port['name']}"
    ports = {port["name"] for port in container.get("ports", [])}
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        for action in ("httpGet", "tcpSocket", "grpc"):
            port = container.get(probe, {}).get(action, {}).get("port")
            if isinstance(port, str) and port not in ports:
                yield f"{probe}: port {port} is nowhere"
    known = set()
    yield from twice("variable", [variable["name"] for variable in container.get("env", [])])
    for variable in container.get("env", []):
        # The kubelet leaves $(NAME) as it is if NAME comes later.
        for name in re.findall(r"\$\(([A-Z_]+)\)", variable.get("value", "")):
            if name not in known:
                yield f"variable {variable['name']}: $({name}) is not known before it"
        known.add(variable["name"])


def needed(spec):
    """`Kind/name` of everything that a pod cannot start without."""
    if spec.get("serviceAccountName", "default") != "default":
        yield f"ServiceAccount/{spec['serviceAccountName']}"
    if spec.get("priorityClassName"):
        yield f"PriorityClass/{spec['priorityClassName']}"
    for secret in spec.get("imagePullSecrets", []):
        yield f"Secret/{secret['name']}"
    for volume in spec.get("volumes", []):
        if "configMap" in volume:
            yield f"ConfigMap/{volume['configMap']['name']}"
        if "secret" in volume:
            yield f"Secret/{volume['secret']['secretName']}"
    for container in containers(spec):
        for source in container.get("envFrom", []) + [variable.get("valueFrom", {}) for variable in container.get("env", [])]:
            for field, kind in (("configMapRef", "ConfigMap"), ("configMapKeyRef", "ConfigMap"), ("secretRef", "Secret"), ("secretKeyRef", "Secret")):
                if field in source:
                    yield f"{kind}/{source[field]['name']}"


def of_selecting(found, objects, used):
    kind, spec = found["kind"], found.get("spec", {})
    every = list(pods(objects))
    if kind == "Service":
        chosen = [pod for _, metadata, pod in every if selects(spec["selector"], metadata)]
        if not chosen:
            yield "selects no pods"
        for pod in chosen:
            ports = [port for container in containers(pod) for port in container.get("ports", [])]
            for port in spec["ports"]:
                if port["targetPort"] not in [known for each in ports for known in (each["name"], each["containerPort"])]:
                    yield f"port {port['targetPort']} is not in the pods"
    elif kind in ("PodDisruptionBudget", "NetworkPolicy", "PodMonitor"):
        chosen = [pod for _, metadata, pod in every if selects(spec.get("selector", spec.get("podSelector"))["matchLabels"], metadata)]
        if not chosen:
            yield "selects no pods"
        numbers = {port["containerPort"] for pod in chosen for container in containers(pod) for port in container.get("ports", [])}
        names = {port["name"] for pod in chosen for container in containers(pod) for port in container.get("ports", [])}
        for endpoint in spec.get("podMetricsEndpoints", []):
            if endpoint["port"] not in names:
                yield f"port {endpoint['port']} is not in the pods"
        for rule in spec.get("ingress", []):
            for port in rule.get("ports", []):
                if port["port"] not in numbers:
                    yield f"ingress to port {port['port']}, which is not in the pods"
    elif kind == "ServiceMonitor":
        services = [each for each in objects if each["kind"] == "Service" and selects(spec["selector"]["matchLabels"], each["metadata"])]
        if len(services) != 1:
            yield f"selects {len(services)} Services"
        for endpoint in spec["endpoints"]:
            if not any(endpoint["port"] == port["name"] for service in services for port in service["spec"]["ports"]):
                yield f"port {endpoint['port']} is not in the Service"
    elif kind == "HorizontalPodAutoscaler":
        target = next((each for each in objects if label(each) == f"{spec['scaleTargetRef']['kind']}/{spec['scaleTargetRef']['name']}"), None)
        if target is None:
            yield "its target is nowhere"
            return
        if "replicas" in target["spec"]:
            yield "its target has replicas of its own"
        for metric in spec["metrics"]:
            source = metric["containerResource"]
            container = next((each for each in containers(target["spec"]["template"]["spec"]) if each["name"] == source["container"]), {})
            if source["name"] not in container.get("resources", {}).get("requests", {}):
                yield f"container {source['container']} has no request of {source['name']}"


def selects(labels, metadata):
    return bool(labels) and labels.items() <= metadata.get("labels", {}).items()


def twice(what, names):
    for name in {name for name in names if names.count(name) > 1}:
        yield f"{what} {name} is there twice"
