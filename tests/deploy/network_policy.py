"""What a NetworkPolicy lets out and in, as Kubernetes defines it: rules add up, and what selects nothing selects everything."""

import dataclasses
import ipaddress

from kit import NAMESPACE


@dataclasses.dataclass(frozen=True)
class Peer:
    """A pod, or with `namespace` None something outside of the cluster."""

    namespace: str | None = None
    address: str = "198.51.100.7"
    labels: tuple = ()


def lets_out(policy, peer, port, protocol="TCP"):
    return _lets(policy, "Egress", "egress", "to", peer, port, protocol)


def lets_in(policy, peer, port, protocol="TCP"):
    return _lets(policy, "Ingress", "ingress", "from", peer, port, protocol)


def _lets(policy, kind, rules, peers, peer, port, protocol):
    spec = policy["spec"]
    if kind not in spec["policyTypes"]:
        return True
    return any(
        ("ports" not in rule or any(each["port"] == port and each["protocol"] == protocol for each in rule["ports"]))
        and (not rule.get(peers) or any(_is(each, peer) for each in rule[peers]))
        for rule in spec.get(rules, [])
    )


def _is(selector, peer):
    if "ipBlock" in selector:
        return peer.namespace is None and ipaddress.ip_address(peer.address) in ipaddress.ip_network(selector["ipBlock"]["cidr"])
    if peer.namespace is None:
        return False
    names = {"kubernetes.io/metadata.name": peer.namespace}
    there = peer.namespace == NAMESPACE if "namespaceSelector" not in selector else _selects(selector["namespaceSelector"], names)
    return there and _selects(selector.get("podSelector", {}), dict(peer.labels))


def _selects(selector, labels):
    assert set(selector) <= {"matchLabels"}, f"{selector}: not known here"
    return selector.get("matchLabels", {}).items() <= labels.items()
