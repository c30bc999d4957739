"""The cluster's certificates, by openssl, and the kubeconfigs that use them."""

from __future__ import annotations

import json
import subprocess

from node.layout import API_ADDRESS, API_SERVICE, CONFIG, FIRST, PKI, SECOND, Node, run

API_NAMES = (
    "IP:127.0.0.1",
    f"IP:{API_ADDRESS}",
    f"IP:{API_SERVICE}",
    "DNS:localhost",
    "DNS:kubernetes",
    "DNS:kubernetes.default",
    "DNS:kubernetes.default.svc",
    "DNS:kubernetes.default.svc.cluster.local",
)


def issue() -> None:
    """Write every certificate, key and kubeconfig."""
    _certificate("ca", "/CN=batchscore-test-ca")
    _certificate("apiserver", "/CN=kube-apiserver", *API_NAMES)
    _certificate("admin", "/O=system:masters/CN=admin")
    _certificate("apiserver-kubelet", "/O=system:masters/CN=apiserver-kubelet-client")
    for part in ("controller-manager", "scheduler", "proxy"):
        _certificate(part, f"/CN=system:kube-{part}")
    for node in (FIRST, SECOND):
        _node_certificates(node)
    run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", PKI / "service-accounts.key")
    for user in ("admin", "controller-manager", "scheduler", "proxy", "kubelet", "kubelet2"):
        _kubeconfig(user)


def _node_certificates(node: Node) -> None:
    _certificate(f"kubelet{node.suffix}", f"/O=system:nodes/CN=system:node:{node.name}")
    _certificate(f"kubelet{node.suffix}-server", f"/CN={node.name}", f"IP:{node.address}", f"DNS:{node.name}")


def _certificate(name: str, subject: str, *alternatives: str) -> None:
    signed = (
        ()
        if name == "ca"
        else (
            *("-CA", PKI / "ca.crt", "-CAkey", PKI / "ca.key", "-addext", "basicConstraints=critical,CA:FALSE"),
            *("-addext", "extendedKeyUsage=clientAuth,serverAuth"),
        )
    )
    names = ("-addext", "subjectAltName=" + ",".join(alternatives)) if alternatives else ()
    run(
        *(
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "30",
        ),
        *("-subj", subject, "-keyout", PKI / f"{name}.key", "-out", PKI / f"{name}.crt", *signed, *names),
        stderr=subprocess.DEVNULL,
    )


def _kubeconfig(user: str) -> None:
    server = {"server": f"https://{API_ADDRESS}:6443", "certificate-authority": str(PKI / "ca.crt")}
    proof = {"client-certificate": str(PKI / f"{user}.crt"), "client-key": str(PKI / f"{user}.key")}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": server}],
        "users": [{"name": user, "user": proof}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
    }
    (CONFIG / f"{user}.kubeconfig").write_text(json.dumps(content), encoding="utf-8")
