"""A pod as a manifest describes it, run by runc: volumes, containers, probes, the end. One node's kubelet, as far as one pod needs it."""

import http.client
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import threading
import time

import oci
from network import Network

PATIENCE = 30


class Pod:
    """`objects` are the ConfigMaps and so on of the same manifests; `networks` of another pod may be shared, to test both as neighbours."""

    def __init__(self, spec, objects, network=None):
        self.spec, self.objects = spec, objects
        self.network = network or Network()
        self.own_network = network is None
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="spop-bridge-pod-"))
        self.folder.chmod(0o755)
        self.volumes = {volume["name"]: self._volume(volume) for volume in spec.get("volumes", [])}
        self.containers = []
        self.hosts = self._file("hosts", "127.0.0.1 localhost\n::1 localhost\n127.0.0.2 pod\n")
        self.resolv_conf = self._file("resolv.conf", "nameserver 127.0.0.1\nsearch edge.svc.cluster.local svc.cluster.local\noptions ndots:5\n")

    def _file(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return path

    def _volume(self, volume):
        path = self.folder / "volumes" / volume["name"]
        path.mkdir(parents=True)
        if "configMap" in volume:
            name = volume["configMap"]["name"]
            write_config_map(path, next(one for one in self.objects if one["kind"] == "ConfigMap" and one["metadata"]["name"] == name)["data"])
        elif "emptyDir" in volume:
            path.chmod(0o777)
        else:
            raise NotImplementedError(f"volume {volume}")
        group = self.spec.get("securityContext", {}).get("fsGroup")
        if group is not None:
            os.chown(path, 0, group)
            path.chmod(path.stat().st_mode & 0o7777 | 0o2070)
        return path

    def spec_of(self, name):
        every = self.spec.get("initContainers", []) + self.spec["containers"]
        return next(one for one in every if one["name"] == name)

    def start(self, name, image, rootfs, extra_mounts=()):
        """`image`: what the image says of its process."""
        container = self.spec_of(name)
        mounts = [bind(self.hosts, "/etc/hosts"), bind(self.resolv_conf, "/etc/resolv.conf"), *extra_mounts]
        for mount in container.get("volumeMounts", []):
            mounts.append(bind(self.volumes[mount["name"]], mount["mountPath"], mount.get("readOnly", False)))
        bundle = self.folder / name
        bundle.mkdir()
        identity = f"{self.folder.name}-{name}"
        configuration = oci.configuration(self.spec, container, image, rootfs, mounts, self.network.path, f"/spop-bridge-test/{identity}")
        oci.write(bundle, configuration)
        started = Container(identity, bundle, container, self.network)
        self.containers.append(started)
        return started

    def config_map_changed(self, volume, data):
        write_config_map(self.volumes[volume], data)

    def close(self):
        for container in reversed(self.containers):
            container.kill()
        if self.own_network:
            self.network.close()
        shutil.rmtree(self.folder)


class Container:
    """A running container and what it has printed."""

    def __init__(self, identity, bundle, spec, network):
        self.identity, self.spec, self.network = identity, spec, network
        self.lines = []
        self.process = subprocess.Popen(["runc", "run", "--bundle", str(bundle), identity], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        with self.process.stdout as output:
            for line in output:
                self.lines.append(line.rstrip("\n"))

    def port(self, port):
        return next((one["containerPort"] for one in self.spec.get("ports", []) if one["name"] == port), port)

    def get(self, port, path, timeout=2):
        """(status, body). From another address than 127.0.0.1, as the kubelet does."""
        with self.network.entered():
            connection = http.client.HTTPConnection("127.0.0.2", self.port(port), timeout=timeout)
            connection.connect()
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def probe(self, kind):
        """Status of a probe as its manifest has it; None if there is no answer."""
        probe = self.spec[kind]
        try:
            return self.get(probe["httpGet"]["port"], probe["httpGet"]["path"], probe.get("timeoutSeconds", 1))[0]
        except OSError:
            return None

    def wait_started(self, kind="startupProbe"):
        """As the kubelet waits: probe after probe, and no more of them than failureThreshold. Returns how many failed."""
        probe = self.spec[kind]
        for failed in range(probe.get("failureThreshold", 3)):
            if self.probe(kind) == 200:
                return failed
            if self.process.poll() is not None:
                break
            time.sleep(probe.get("periodSeconds", 10))
        raise AssertionError(f"{self.identity} does not pass its {kind}:\n" + "\n".join(self.lines))

    def wait_for(self, what):
        """Until a line holds this text, and all lines so far."""
        until(lambda: any(what in line for line in self.lines), lambda: f"no line with {what!r}:\n" + "\n".join(self.lines))

    def signal(self, number):
        subprocess.run(["runc", "kill", self.identity, signal.Signals(number).name[3:]], check=True)

    def wait(self, seconds):
        """Its exit code, when all that it printed is there."""
        code = self.process.wait(seconds)
        self.reader.join(PATIENCE)
        return code

    def memory(self):
        """Bytes that count against the limit, and those of them that the kernel cannot take back: the working set."""
        stats = json.loads(subprocess.run(["runc", "events", "--stats", self.identity], check=True, capture_output=True).stdout)
        memory = stats["data"]["memory"]
        used, raw = memory["usage"]["usage"], memory["raw"]
        return used, used - raw.get("total_inactive_file", raw.get("inactive_file", 0))

    def kill(self):
        if self.process.poll() is None:
            subprocess.run(["runc", "kill", self.identity, "KILL"], capture_output=True)
        self.wait(PATIENCE)


def bind(source, destination, read_only=True):
    return {"destination": destination, "type": "bind", "source": str(source),
            "options": ["rbind", "rprivate", "nosuid", "nodev", "ro" if read_only else "rw"]}


def write_config_map(folder, data):
    """As the kubelet's AtomicWriter: files in a folder of the moment, a link `..data` to it that is replaced in one step."""
    moment = pathlib.Path(tempfile.mkdtemp(prefix="..", dir=folder))
    moment.chmod(0o755)
    for name, text in data.items():
        (moment / name).write_text(text)
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    before = folder / "..data"
    old = before.resolve() if before.is_symlink() else None
    (folder / "..data_tmp").symlink_to(moment.name)
    (folder / "..data_tmp").rename(before)
    if old:
        shutil.rmtree(old)


def until(condition, complaint, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(complaint())
        time.sleep(0.05)
