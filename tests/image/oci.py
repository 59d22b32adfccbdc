"""A container of a pod to the configuration of runc: what the kubelet and the container runtime make of the same fields."""

import json
import pathlib
import resource

SECCOMP = "/usr/share/containers/seccomp.json"
# What a container has unless its securityContext drops it.
CAPABILITIES = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"]
MASKED = ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/sched_debug", "/proc/scsi", "/sys/firmware"]
READ_ONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


def configuration(pod, container, image, rootfs, mounts, network, cgroup):
    """`image` is the process that the image's own configuration describes; `mounts` those of files and volumes."""
    security = {**pod.get("securityContext", {}), **container.get("securityContext", {})}
    uid = security.get("runAsUser", image["user"]["uid"])
    if security.get("runAsNonRoot") and uid == 0:
        raise ValueError(f"container {container['name']}: runAsNonRoot, but it would run as root")
    command = container.get("command", image["entrypoint"]) + container.get("args", [] if "command" in container else image["cmd"])
    dropped = security.get("capabilities", {}).get("drop", [])
    kept = [] if "ALL" in dropped else ["CAP_" + name for name in CAPABILITIES if name not in dropped]
    # A user other than root has none of them; it may get at the bounding set by a setuid program.
    held = kept if uid == 0 else []
    environment = image["env"] + [f"{one['name']}={one.get('value', '')}" for one in container.get("env", [])]
    return {
        "ociVersion": "1.0.2",
        "process": {
            "args": command,
            "env": environment,
            "cwd": container.get("workingDir", "/"),
            "user": {
                "uid": uid,
                "gid": security.get("runAsGroup", image["user"]["gid"]),
                "additionalGids": [security["fsGroup"]] if "fsGroup" in security else [],
            },
            "capabilities": {"bounding": kept, "effective": held, "permitted": held, "inheritable": [], "ambient": []},
            "noNewPrivileges": not security.get("allowPrivilegeEscalation", True),
            "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": resource.getrlimit(resource.RLIMIT_NOFILE)[1]}],
        },
        "root": {"path": str(rootfs), "readonly": security.get("readOnlyRootFilesystem", False)},
        "hostname": "pod",
        "mounts": _system_mounts() + mounts,
        "linux": {
            "cgroupsPath": cgroup,
            "namespaces": [{"type": "network", "path": network}, *({"type": kind} for kind in ("pid", "ipc", "uts", "mount"))],
            "resources": _resources(container.get("resources", {})),
            "maskedPaths": MASKED,
            "readonlyPaths": READ_ONLY,
            **({"seccomp": _seccomp(kept)} if security.get("seccompProfile", {}).get("type") == "RuntimeDefault" else {}),
        },
    }


def write(bundle, configuration):
    (bundle / "config.json").write_text(json.dumps(configuration, indent=1))


def _system_mounts():
    def mount(path, kind, *options):
        return {"destination": path, "type": kind, "source": kind, "options": ["nosuid", *options]}

    return [
        mount("/proc", "proc", "noexec", "nodev"),
        mount("/dev", "tmpfs", "strictatime", "mode=755", "size=65536k"),
        mount("/dev/pts", "devpts", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
        mount("/dev/shm", "tmpfs", "noexec", "nodev", "mode=1777", "size=65536k"),
        mount("/sys", "sysfs", "noexec", "nodev", "ro"),
    ]


def _resources(resources):
    limits, requests = resources.get("limits", {}), resources.get("requests", {})
    found = {"devices": [{"allow": False, "access": "rwm"}], "cpu": {}}
    if "cpu" in requests:
        found["cpu"]["shares"] = int(_cores(requests["cpu"]) * 1024)
    if "cpu" in limits:
        found["cpu"].update(period=100_000, quota=int(_cores(limits["cpu"]) * 100_000))
    if "memory" in limits:
        found["memory"] = {"limit": size(limits["memory"])}
    return found


def _cores(text):
    text = str(text)
    return int(text[:-1]) / 1000 if text.endswith("m") else float(text)


def size(text):
    """Bytes of `256Mi`."""
    return int(text[:-2]) * UNITS[text[-2:]] if text[-2:] in UNITS else int(text)


def _seccomp(capabilities):
    """The profile that podman, CRI-O and Docker have as their default, as far as it concerns these capabilities."""
    profile = json.loads(pathlib.Path(SECCOMP).read_text())
    rules = []
    for rule in profile["syscalls"]:
        wanted, refused = rule.get("includes") or {}, rule.get("excludes") or {}
        arches = wanted.get("arches", ["amd64"])
        if "amd64" in arches and set(wanted.get("caps", [])) <= set(capabilities) and not set(refused.get("caps", [])) & set(capabilities):
            rules.append({"names": rule["names"], "action": rule["action"], "args": rule.get("args") or [],
                          **({"errnoRet": rule["errnoRet"]} if "errnoRet" in rule else {})})
    return {"defaultAction": profile["defaultAction"], "defaultErrnoRet": profile["defaultErrnoRet"],
            "architectures": ["SCMP_ARCH_X86_64"], "syscalls": rules}
