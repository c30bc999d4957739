"""A small enforcer of NetworkPolicies for the test cluster: every second it writes them down as iptables chains.

With the ptp network every packet of a pod passes FORWARD, or INPUT towards the node. Understood are pod and namespace
selectors, ipBlock without `except`, and ports by number, range or name. A node may always reach its own pods.
"""

from __future__ import annotations

import hashlib
import json
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from node.layout import API_ADDRESS, PKI

Object = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class World:
    """What there is, at one moment."""

    namespaces: Mapping[str, Mapping[str, str]]
    """Labels by namespace."""
    pods: Sequence[Object]
    """Pods that have an address."""
    policies: Sequence[Object]
    """The policies."""


def look(opener: urllib.request.OpenerDirector) -> World:
    """Ask the API server."""

    def items(path: str) -> list[Object]:
        with opener.open(f"https://{API_ADDRESS}:6443{path}", timeout=10) as answer:
            found: list[Object] = json.load(answer).get("items") or []
        return found

    pods = [
        pod
        for pod in items("/api/v1/pods")
        if pod["status"].get("podIP")
        and not pod["spec"].get("hostNetwork")
        and pod["status"].get("phase") in ("Running", "Pending")
    ]
    namespaces = {one["metadata"]["name"]: one["metadata"].get("labels", {}) for one in items("/api/v1/namespaces")}
    return World(namespaces=namespaces, pods=pods, policies=items("/apis/networking.k8s.io/v1/networkpolicies"))


def selects(selector: Object, labels: Mapping[str, str]) -> bool:
    """Whether a label selector takes these labels."""
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_holds(one, labels) for one in selector.get("matchExpressions") or ())


def _holds(expression: Object, labels: Mapping[str, str]) -> bool:
    there = expression["key"] in labels
    among = there and labels[expression["key"]] in expression.get("values", [])
    return bool({"In": among, "NotIn": not among, "Exists": there, "DoesNotExist": not there}[expression["operator"]])


def chains(world: World) -> str:
    """Return the whole text for `iptables-restore`. Pure."""
    known = "-m conntrack --ctstate ESTABLISHED,RELATED -j RETURN"
    tops = [f"-A POLICIES {known}", f"-A POLICIES-OUT {known}"]
    bodies: dict[str, list[str]] = {}
    for pod in world.pods:
        for direction in ("Ingress", "Egress"):
            selecting = _selecting(world, pod, direction)
            if not selecting:
                continue
            chain = f"{direction[:2].upper()}-" + hashlib.sha256(pod["metadata"]["uid"].encode()).hexdigest()[:16]
            bodies[chain] = [f"-A {chain} {rule} -j RETURN" for rule in _rules(world, pod, selecting, direction)]
            bodies[chain].append(f"-A {chain} -j DROP")
            flag = "-d" if direction == "Ingress" else "-s"
            tops.append(f"-A POLICIES {flag} {pod['status']['podIP']}/32 -j {chain}")
            if direction == "Egress":
                tops.append(f"-A POLICIES-OUT {flag} {pod['status']['podIP']}/32 -j {chain}")
    names = ["POLICIES", "POLICIES-OUT", *bodies]
    lines = [line for body in bodies.values() for line in body]
    return "\n".join(["*filter", *(f":{name} - [0:0]" for name in names), *tops, *lines, "COMMIT", ""])


def _selecting(world: World, pod: Object, direction: str) -> list[Object]:
    labels = pod["metadata"].get("labels", {})
    return [
        policy["spec"]
        for policy in world.policies
        if policy["metadata"]["namespace"] == pod["metadata"]["namespace"]
        and direction in (policy["spec"].get("policyTypes") or ["Ingress"])
        and selects(policy["spec"].get("podSelector") or {}, labels)
    ]


def _rules(world: World, pod: Object, specs: Sequence[Object], direction: str) -> Iterator[str]:
    key, peers_key, flag = ("ingress", "from", "-s") if direction == "Ingress" else ("egress", "to", "-d")
    for spec in specs:
        for rule in spec.get(key) or ():
            for peer, address in _peers(world, pod["metadata"]["namespace"], rule.get(peers_key)):
                target = pod if direction == "Ingress" else peer
                for port in _ports(rule.get("ports"), target):
                    yield f"{flag} {address} {port}" if address else port


def _peers(world: World, namespace: str, peers: Sequence[Object] | None) -> Iterator[tuple[Object | None, str]]:
    if not peers:
        yield None, ""
    for peer in peers or ():
        if "ipBlock" in peer:
            yield None, peer["ipBlock"]["cidr"]
            continue
        for pod in world.pods:
            home = pod["metadata"]["namespace"]
            near = (
                selects(peer["namespaceSelector"], world.namespaces.get(home, {}))
                if "namespaceSelector" in peer
                else home == namespace
            )
            if near and selects(peer.get("podSelector") or {}, pod["metadata"].get("labels", {})):
                yield pod, f"{pod['status']['podIP']}/32"


def _ports(ports: Sequence[Object] | None, target: Object | None) -> Iterator[str]:
    if not ports:
        yield ""
    for port in ports or ():
        protocol, number = port.get("protocol", "TCP"), port.get("port")
        if number is None:
            yield f"-p {protocol.lower()}"
        elif isinstance(number, int):
            last = f":{port['endPort']}" if port.get("endPort") else ""
            yield f"-p {protocol.lower()} --dport {number}{last}"
        elif target is not None:
            for container in target["spec"]["containers"]:
                for one in container.get("ports", []):
                    if (one.get("name"), one.get("protocol", "TCP")) == (number, protocol):
                        yield f"-p {protocol.lower()} --dport {one['containerPort']}"


def main() -> None:
    """Enforce until the end."""
    trust = ssl.create_default_context(cafile=str(PKI / "ca.crt"))
    trust.load_cert_chain(PKI / "admin.crt", PKI / "admin.key")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust))
    written = ""
    while True:
        try:
            text = chains(look(opener))
            if text != written:
                subprocess.run(["iptables-restore", "-w", "5", "--noflush"], input=text, text=True, check=True)
                for hook, chain in (("FORWARD", "POLICIES"), ("INPUT", "POLICIES-OUT")):
                    if subprocess.run(
                        ["iptables", "-w", "5", "-C", hook, "-j", chain], capture_output=True, check=False
                    ).returncode:
                        subprocess.run(["iptables", "-w", "5", "-I", hook, "1", "-j", chain], check=True)
                written = text
                sys.stdout.write(f"{time.strftime('%T')} {text.count(chr(10))} lines\n")
        except (OSError, KeyError, ValueError, subprocess.CalledProcessError) as error:
            sys.stdout.write(f"{error!r}\n")
        sys.stdout.flush()
        time.sleep(1)


if __name__ == "__main__":
    main()
