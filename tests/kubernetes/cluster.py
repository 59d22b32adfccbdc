"""A Kubernetes API server with its etcd, on loopback, in a folder of its own.

No scheduler, kubelet or controllers: objects are defaulted, validated, admitted and kept.
"""

import json
import pathlib
import secrets
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

REPO = pathlib.Path(__file__).resolve().parents[2]
TOOLS = REPO / ".cache/kubernetes"


class Refused(Exception):
    """kubectl failed; the text is what it said."""


class Cluster:
    def __init__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="kube-"))
        self.token = secrets.token_hex(16)
        self.processes = []
        try:
            self._start_etcd()
            self._start_apiserver()
        except BaseException:
            self.stop()
            raise

    def _start_etcd(self):
        self.etcd, peer = free_port(), free_port()
        self._run(
            "etcd", f"--data-dir={self.dir}/etcd-data", "--unsafe-no-fsync",
            f"--listen-client-urls=http://127.0.0.1:{self.etcd}", f"--advertise-client-urls=http://127.0.0.1:{self.etcd}",
            f"--listen-peer-urls=http://127.0.0.1:{peer}", f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-cluster=default=http://127.0.0.1:{peer}",
        )
        self._wait("etcd", f"http://127.0.0.1:{self.etcd}/health")

    def _start_apiserver(self):
        port = free_port()
        self.url = f"https://127.0.0.1:{port}"
        key = self.dir / "service-account.key"
        subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
        # In system:masters, so RBAC lets it do everything; admission still counts for it.
        (self.dir / "tokens.csv").write_text(f"{self.token},tests,tests,system:masters\n")
        self._run(
            "kube-apiserver", f"--etcd-servers=http://127.0.0.1:{self.etcd}",
            "--bind-address=127.0.0.1", f"--secure-port={port}", f"--cert-dir={self.dir}/certs",
            "--endpoint-reconciler-type=none", "--service-cluster-ip-range=10.0.0.0/24",
            # So that it is Pod Security that refuses them.
            "--allow-privileged=true",
            "--authorization-mode=RBAC", f"--token-auth-file={self.dir}/tokens.csv",
            f"--service-account-key-file={key}", f"--service-account-signing-key-file={key}",
            "--service-account-issuer=https://kubernetes.default.svc",
        )
        self._wait("kube-apiserver", f"{self.url}/readyz")
        (self.dir / "config").write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "tests",
            "clusters": [{"name": "tests", "cluster": {"server": self.url, "insecure-skip-tls-verify": True}}],
            "users": [{"name": "tests", "user": {"token": self.token}}],
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "tests"}}],
        }))

    def _run(self, program, *flags):
        log = open(self.dir / f"{program}.log", "wb")
        with log:
            self.processes.append(subprocess.Popen([TOOLS / program, *flags], cwd=self.dir, stdout=log, stderr=log))

    def _wait(self, program, url, seconds=180):
        """Until it answers with 200. The certificate is its own."""
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        request = urllib.request.Request(url, headers={"authorization": f"Bearer {self.token}"})
        end = time.monotonic() + seconds
        while True:
            try:
                with urllib.request.urlopen(request, timeout=5, context=trusting) as response:
                    if response.status == 200:
                        return
                    said = response.status
            except urllib.error.HTTPError as error:
                said = error.code
                error.close()
            except OSError as error:
                said = error
            if self.processes[-1].poll() is not None or time.monotonic() > end:
                log = (self.dir / f"{program}.log").read_text(errors="replace")
                raise RuntimeError(f"{program} is not ready: {said}\n{log[-4000:]}")
            time.sleep(0.2)

    def kubectl(self, *args, stdin=None):
        """Its stdout. Raises Refused; a warning of the server is also a failure."""
        command = [TOOLS / "kubectl", f"--kubeconfig={self.dir}/config", "--warnings-as-errors", *args]
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": stdin}) if stdin is not None else None
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            raise Refused(done.stderr.strip() or done.stdout.strip())
        return done.stdout

    def namespace(self, name, level="restricted"):
        """A namespace at a Pod Security level, with what the missing controllers would put there."""
        labels = {f"pod-security.kubernetes.io/{mode}": level for mode in ("enforce", "warn", "audit")}
        self.kubectl("apply", "--server-side", "-f", "-", stdin=[
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}},
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": name}},
        ])
        return name

    def apply(self, namespace, objects):
        """Server-side, strictly validated."""
        return self.kubectl("apply", "--server-side", "--validate=strict", "-n", namespace, "-f", "-", stdin=objects)

    def admit(self, namespace, pod):
        """Asks for a pod without keeping it: Pod Security refuses pods, and only warns of what makes them."""
        return self.kubectl("create", "--dry-run=server", "--validate=strict", "-n", namespace, "-f", "-", stdin=[pod])

    def stop(self):
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
