"""Who may connect, by default, and that no decision service is cut off: endpoints of every shape against what the policy lets out."""

import re
import tempfile
import unittest

import yaml

import kit
from network_policy import Peer, lets_in, lets_out

OWN, TEAM, OUTSIDE = Peer(kit.NAMESPACE), Peer("team"), Peer()
HAPROXY = Peer(kit.NAMESPACE, labels=(("app.kubernetes.io/name", "haproxy"),))
# Each endpoint, where it is, the ports of the pods that it may come to, and others that it must not.
SHAPES = [
    ("dns:///decisions:50051", OWN, [50051], [443]),
    ("dns:decisions:50051", OWN, [50051], [443]),
    ("dns:///decisions.edge.svc:50051", OWN, [50051], [443]),
    ("dns:///decisions.team.svc:50051", TEAM, [50051], [443]),
    ("dns:///decisions.team.svc.cluster.local:50051", TEAM, [50051], [443]),
    ("dns:///Decisions.Team.SVC.cluster.local.:50051", TEAM, [50051], [443]),
    ("dns:///pod-0.decisions.team.svc.cluster.local:50051", TEAM, [50051], [443]),
    # A Service of its own address may map the port.
    ("http://decisions:80", OWN, [80, 50051], []),
    ("http://decisions.team.svc:80", TEAM, [80, 50051], []),
    ("https://decisions.team.svc.cluster.local:443/", TEAM, [443, 50051], []),
    ("http://decisions.team.svc:${PORT}", TEAM, [50051], []),
    ("http://decisions.team.svc:${PORT:-80}", TEAM, [50051], []),
    ("dns:///decisions.team.svc:${PORT}", TEAM, [50051], []),
    # SRV records have the port.
    ("dns:///decisions.team.svc", TEAM, [50051], []),
    ("dns:///_grpc._tcp.decisions.team.svc", TEAM, [50051], []),
    ("dns:///_grpc._tcp.decisions", OWN, [50051], []),
    # Outside.
    ("https://decisions.example.com:443", OUTSIDE, [443], [50051]),
    ("https://decisions.example.com:443/", OUTSIDE, [443], [50051]),
    ("dns:///decisions.example.com:50051", OUTSIDE, [50051], [443]),
    ("https://decisions.svc.example.com:443", OUTSIDE, [443], [50051]),
    ("https://decisions.team.svc.other.example:443", OUTSIDE, [443], [50051]),
    ("http://198.51.100.7:50051", OUTSIDE, [50051], [443]),
    ("dns:///198.51.100.7:50051", OUTSIDE, [50051], [443]),
    ("https://[2001:db8::1]:443", Peer(address="2001:db8::1"), [443], [50051]),
]


def policy(values):
    """The NetworkPolicy that values render, or the chart's refusal."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(values, file)
        file.flush()
        code, output = kit.helm("helm4", "template", "spop-bridge", kit.CHART, "--namespace", kit.NAMESPACE, "--values", file.name)
    if code != 0:
        return output
    return next((found for found in kit.objects(output) if found["kind"] == "NetworkPolicy"), None)


def with_endpoints(*endpoints, **more):
    return {"config": {"backends": {"decisions": {"endpoints": list(endpoints)}}}, **more}


class Decisions(unittest.TestCase):
    def test_no_shape_is_cut_off(self):
        for endpoint, peer, ports, others in SHAPES:
            with self.subTest(endpoint):
                made = policy(with_endpoints(endpoint))
                self.assertIsInstance(made, dict, made)
                for port in ports:
                    self.assertTrue(lets_out(made, peer, port), f"{port}: {made['spec']['egress']}")
                for port in others:
                    self.assertFalse(lets_out(made, peer, port), f"{port}: {made['spec']['egress']}")
                if peer in (OWN, TEAM):
                    self.assertFalse(any(lets_out(made, other, ports[0]) for other in (OWN, TEAM, OUTSIDE) if other != peer), made["spec"]["egress"])

    def test_what_may_be_here_or_outside(self):
        made = policy(with_endpoints("http://decisions.team:80"))
        self.assertTrue(lets_out(made, TEAM, 50051) and lets_out(made, OUTSIDE, 80))
        self.assertFalse(lets_out(made, OWN, 50051) or lets_out(made, OUTSIDE, 443))

    def test_all_at_once(self):
        """Each keeps its own ports: one that maps its port opens nothing for others."""
        made = policy(with_endpoints("dns:///decisions:50051", "dns:///decisions:50052", "http://waf.team.svc:80", "https://api.example.com:443"))
        self.assertTrue(all(lets_out(made, OWN, port) for port in (50051, 50052, 443)))
        self.assertTrue(all(lets_out(made, TEAM, port) for port in (80, 8080)))
        self.assertTrue(lets_out(made, OUTSIDE, 443))
        self.assertFalse(lets_out(made, OWN, 80) or lets_out(made, OUTSIDE, 50051))

    def test_nothing_to_say(self):
        """What is in the pod needs no rule."""
        made = policy(with_endpoints("unix:/run/decisions.sock", "http://127.0.0.1:50051", "http://localhost:50051", "http://[::1]:50051"))
        self.assertFalse(any(lets_out(made, peer, 50051) for peer in (OWN, TEAM, OUTSIDE)))
        self.assertTrue(lets_out(made, OUTSIDE, 53, "UDP"))

    def test_what_cannot_be_told_is_refused(self):
        for endpoint, says in [
            ("http://${HOST}:50051", "networkPolicy.decisions is missing"),
            ("${ENDPOINT}", "networkPolicy.decisions is missing"),
            ("dns:///decisions.${NAMESPACE:-team}.svc:50051", "networkPolicy.decisions is missing"),
            ("https://decisions.example.com:${PORT}", "networkPolicy.decisionPorts is missing"),
            ("dns:///_grpc._tcp.decisions.example.com", "networkPolicy.decisionPorts is missing"),
        ]:
            with self.subTest(endpoint):
                refused = policy(with_endpoints(endpoint))
                self.assertIn(says, refused)
                self.assertIn(endpoint, refused)
                self.assertFalse("Egress" in policy(with_endpoints(endpoint, networkPolicy={"egress": False}))["spec"]["policyTypes"])
                self.assertIsNone(policy(with_endpoints(endpoint, networkPolicy={"enabled": False})))
                said = {"decisions": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "team"}}}], "decisionPorts": [50051]}
                made = policy(with_endpoints(endpoint, networkPolicy=said))
                self.assertTrue(lets_out(made, TEAM, 50051))
                self.assertFalse(lets_out(made, OWN, 50051) or lets_out(made, TEAM, 443))

    def test_what_is_said_counts(self):
        said = {"decisions": [{"ipBlock": {"cidr": "198.51.100.0/24"}}]}
        made = policy(with_endpoints("dns:///external.team.svc:50051", networkPolicy=said))
        self.assertTrue(lets_out(made, OUTSIDE, 50051))
        self.assertFalse(lets_out(made, TEAM, 50051) or lets_out(made, OUTSIDE, 443))
        made = policy(with_endpoints("http://decisions.team.svc:80", networkPolicy={"decisionPorts": [50051]}))
        self.assertTrue(lets_out(made, TEAM, 50051))
        self.assertFalse(lets_out(made, TEAM, 80))

    def test_another_domain(self):
        made = policy(with_endpoints("dns:///decisions.team.svc.corp.internal:50051", clusterDomain="corp.internal"))
        self.assertTrue(lets_out(made, TEAM, 50051))
        self.assertFalse(lets_out(made, OUTSIDE, 50051))

    def test_dns_servers(self):
        for endpoint, peer, port in [
            ("dns://198.51.100.7/decisions.team.svc:50051", OUTSIDE, 53),
            ("dns://198.51.100.7:5300/decisions.team.svc:50051", OUTSIDE, 5300),
            ("dns://2001:db8::1/decisions.team.svc:50051", Peer(address="2001:db8::1"), 53),
            ("dns://[2001:db8::1]:5300/decisions.team.svc:50051", Peer(address="2001:db8::1"), 5300),
        ]:
            with self.subTest(endpoint):
                made = policy(with_endpoints(endpoint, networkPolicy={"dns": [{"podSelector": {}}]}))
                self.assertTrue(lets_out(made, peer, port) and lets_out(made, peer, port, "UDP"), made["spec"]["egress"])
                self.assertTrue(lets_out(made, TEAM, 50051))

    def test_telemetry(self):
        for values, peer, port in [
            ({"endpoint": "http://$(HOST_IP):4317"}, OUTSIDE, 4317),
            ({"endpoint": "http://collector.telemetry.svc:4317"}, Peer("telemetry"), 4317),
            ({"endpoint": "https://otlp.example.com"}, OUTSIDE, 443),
            ({"endpoint": "https://otlp.example.com:4318/v1"}, OUTSIDE, 4318),
            ({"env": {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://traces.telemetry.svc:4317"}}, Peer("telemetry"), 4317),
        ]:
            with self.subTest(values):
                made = policy(with_endpoints("dns:///decisions:50051", otel=values))
                self.assertTrue(lets_out(made, peer, port), made["spec"]["egress"])
        variable = [{"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://198.51.100.7:4317"}]
        self.assertTrue(lets_out(policy(with_endpoints("dns:///decisions:50051", extraEnv=variable)), OUTSIDE, 4317))


class Everything(unittest.TestCase):
    """All that is rendered, from the chart's test values to the overlays."""

    def test_pods_have_a_policy_that_cuts_off_no_endpoint(self):
        tried = 0
        for where, objects, _, _ in kit.everything():
            bridges = [owner for owner, _, spec in kit.pods(objects) if any(each["name"] == "bridge" for each in kit.containers(spec))]
            policies = [found for found in objects if found["kind"] == "NetworkPolicy"]
            with self.subTest(where):
                # A chart that has ours as a dependency looks after its own pods.
                self.assertEqual(len(policies), len(bridges) if "consumer" not in where else 0)
            for made in policies:
                for found in objects:
                    text = found.get("data", {}).get("bridge.yaml") if found["kind"] == "ConfigMap" else None
                    for endpoint in re.findall(r"(?:dns|https?):/*[^\s\"'\],]+", text or ""):
                        shape = next((shape for shape in SHAPES if shape[0].rstrip("/") == endpoint), None)
                        if shape:
                            tried += 1
                            with self.subTest(where, endpoint=endpoint):
                                self.assertTrue(any(lets_out(made, shape[1], port) for port in shape[2]) or self.said(where))
        self.assertGreaterEqual(tried, 10)

    def said(self, where):
        """Whether values say themselves where the services are."""
        path = kit.HERE / where
        return path.exists() and "decision" in str(yaml.safe_load(path.read_text()).get("networkPolicy"))

    def test_who_comes_in(self):
        made = policy(with_endpoints("dns:///decisions:50051"))
        self.assertTrue(lets_in(made, HAPROXY, 9000) and lets_in(made, Peer("monitoring"), 9902))
        for peer in (OWN, TEAM, OUTSIDE, HAPROXY):
            self.assertFalse(lets_in(made, peer, 9902), peer)
        for peer in (OWN, TEAM, OUTSIDE, Peer("monitoring")):
            self.assertFalse(lets_in(made, peer, 9000), peer)
        sidecar = policy(with_endpoints("dns:///decisions:50051", mode="sidecar"))
        self.assertTrue(all(lets_in(sidecar, peer, 8080) for peer in (OWN, TEAM, OUTSIDE)))
        self.assertFalse(any(lets_in(sidecar, peer, port) for peer in (OWN, TEAM, OUTSIDE) for port in (9902, 8404)))
        self.assertTrue(lets_out(sidecar, OUTSIDE, 8080), "HAProxy has servers of its own")


if __name__ == "__main__":
    unittest.main()
