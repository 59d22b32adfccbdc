"""The listeners of the rendered configuration: the chart's own, those of the values, and which of them gets the certificate."""

import os
import pathlib
import tempfile
import unittest

import yaml

import kit
from test_configs import certificates

LISTENER = "/etc/spop-bridge-tls/listener"
TLS = {"certificate": f"{LISTENER}/tls.crt", "key": f"{LISTENER}/tls.key", "client_ca": f"{LISTENER}/ca.crt"}
ON = {"tls": {"listener": {"enabled": True, "secretName": "bridge-tls"}}}


def listeners(values):
    """What the bridge is told, which it takes."""
    values.setdefault("config", {})["backends"] = {"decisions": {"endpoints": ["dns:///decisions:50051"]}}
    with tempfile.TemporaryDirectory() as folder:
        given = pathlib.Path(folder, "values.yaml")
        given.write_text(yaml.safe_dump(values))
        code, output = kit.helm("helm4", "template", "spop-bridge", kit.CHART, "--namespace", kit.NAMESPACE, "--values", given)
        assert code == 0, output
        text = next(found["data"]["bridge.yaml"] for found in kit.objects(output) if found["kind"] == "ConfigMap" and "bridge.yaml" in found["data"])
        certificates(pathlib.Path(folder))
        path = pathlib.Path(folder, "bridge.yaml")
        path.write_text(text.replace("/etc/spop-bridge-tls/", f"{folder}/"))
        code, output = kit.run(kit.bridge(), "check", "--config", path, env={"PATH": os.environ["PATH"]})
        assert code == 0, f"{output}\n{text}"
        return yaml.safe_load(text)["listeners"]


class Listeners(unittest.TestCase):
    def test_the_charts_own(self):
        self.assertEqual(listeners({}), [{"bind": "0.0.0.0:9000"}])
        self.assertEqual(listeners(dict(ON)), [{"bind": "0.0.0.0:9000", "tls": TLS}])

    def test_every_other_key_of_it(self):
        more = {"name": "edge", "var_prefix": "br", "max_connections": 1000, "max_in_flight": 65536, "max_frame_size": "32KiB", "idle_timeout": "1m"}
        self.assertEqual(listeners({"listener": dict(more)}), [{"bind": "0.0.0.0:9000", **more}])
        values = {"tls": {"listener": {"enabled": True, "secretName": "x", "allowedSans": ["haproxy.edge"]}}, "listener": {**more, "tls": {"min_version": "1.3"}}}
        self.assertEqual(listeners(values), [{"bind": "0.0.0.0:9000", **more, "tls": {**TLS, "allowed_sans": ["haproxy.edge"], "min_version": "1.3"}}])

    def test_at_the_socket(self):
        values = {"mode": "sidecar", "listener": {"var_prefix": "br", "max_connections": 1000}}
        socket = {"bind": "unix:/run/spop-bridge/spop.sock", "unix": {"mode": "0660"}, "var_prefix": "br", "max_connections": 1000}
        self.assertEqual(listeners(values), [socket])

    def test_beside_listeners_of_ones_own(self):
        local = {"bind": "127.0.0.1:9001", "name": "local"}
        edge = {"bind": "0.0.0.0:9000", "name": "edge", "var_prefix": "br"}
        self.assertEqual(listeners({**ON, "config": {"listeners": [local, edge]}}), [local, {**edge, "tls": TLS}], "it is that at ports.spop")
        self.assertEqual(listeners({**ON, "config": {"listeners": [local]}}), [{"bind": "0.0.0.0:9000", "tls": TLS}, local], "it is added")
        self.assertEqual(listeners({"config": {"listeners": [edge]}}), [edge])

    def test_its_own_keys_come_first(self):
        own = {"bind": "0.0.0.0:9000", "tls": {"allowed_sans": ["haproxy.edge"], "min_version": "1.3"}, "max_connections": 7}
        values = {**ON, "config": {"listeners": [own]}, "listener": {"max_connections": 1000, "var_prefix": "br"}}
        self.assertEqual(listeners(values), [{**own, "var_prefix": "br", "tls": {**TLS, **own["tls"]}}])


if __name__ == "__main__":
    unittest.main()
