"""The Pod Security Standard `restricted`, which holds all of `baseline`, as of Kubernetes 1.37.

https://kubernetes.io/docs/concepts/security/pod-security-standards/: each rule below is one of its controls.
"""

from kit import containers

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret"}
SYSCTLS = {
    "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start", "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range", "net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem",
}
SELINUX = {None, "", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
APPARMOR = {None, "RuntimeDefault", "Localhost"}
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")


def violations(metadata, spec):
    """Everything in a pod that `restricted` forbids."""
    yield from of_pod(metadata, spec)
    for container in containers(spec):
        for problem in of_container(container, spec.get("securityContext", {})):
            yield f"container {container['name']}: {problem}"


def of_pod(metadata, spec):
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(field):
            yield f"{field} is set"
    for volume in spec.get("volumes", []):
        for kind in volume.keys() - {"name"} - VOLUMES:
            yield f"volume {volume['name']} is of type {kind}"
    context = spec.get("securityContext", {})
    for sysctl in context.get("sysctls", []):
        if sysctl["name"] not in SYSCTLS:
            yield f"sysctl {sysctl['name']}"
    for name, value in metadata.get("annotations", {}).items():
        if name.startswith("container.apparmor.security.beta.kubernetes.io/") and not value.startswith(("runtime/default", "localhost/")):
            yield f"{name}: {value}"
    yield from of_either(context)
    # Said by the pod for all, or by every container: see of_container.
    if context.get("runAsUser") == 0:
        yield "runAsUser is 0"


def of_container(container, pod):
    context = container.get("securityContext", {})
    yield from of_either(context)
    if context.get("privileged"):
        yield "privileged"
    if context.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    if context.get("runAsNonRoot", pod.get("runAsNonRoot")) is not True:
        yield "runAsNonRoot is not true"
    if context.get("runAsUser") == 0:
        yield "runAsUser is 0"
    if context.get("seccompProfile", pod.get("seccompProfile", {})).get("type") not in ("RuntimeDefault", "Localhost"):
        yield "seccompProfile is neither RuntimeDefault nor Localhost"
    if context.get("procMount") not in (None, "Default"):
        yield "procMount"
    capabilities = context.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", []):
        yield "capabilities are not dropped"
    for capability in set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
        yield f"capability {capability}"
    for port in container.get("ports", []):
        if port.get("hostPort"):
            yield f"hostPort {port['hostPort']}"
    for where, handler in handlers(container):
        for action in ("httpGet", "tcpSocket"):
            if handler.get(action, {}).get("host"):
                yield f"{where} goes to a host of its own"


def of_either(context):
    if context.get("windowsOptions", {}).get("hostProcess"):
        yield "hostProcess"
    options = context.get("seLinuxOptions", {})
    if options.get("type") not in SELINUX or options.get("user") or options.get("role"):
        yield "seLinuxOptions"
    if context.get("appArmorProfile", {}).get("type") not in APPARMOR:
        yield "appArmorProfile"
    if context.get("seccompProfile", {}).get("type") == "Unconfined":
        yield "seccompProfile is Unconfined"


def handlers(container):
    for name in PROBES:
        yield name, container.get(name, {})
    for name, handler in container.get("lifecycle", {}).items():
        yield name, handler
