"""What runs inside the private namespaces, as their process 1: it prepares them, starts the parts, and reaps what is left.

The end of process 1 is the end of all of it.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import ssl
import subprocess
import sys
import tarfile
import time
import urllib.request
from pathlib import Path
from typing import NoReturn

from node.layout import (
    API_ADDRESS,
    BEGAN,
    BIN,
    CONFIG,
    FIRST,
    KUBECTL,
    LOGS,
    PKI,
    RUN,
    SECOND,
    SERVICES,
    Node,
    run,
    say,
    succeeds,
)

_parts: dict[int, str] = {}
"""The parts by process id."""


def main(*, two: bool) -> NoReturn:
    """Bring the cluster up, then reap."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    _mounts()
    _network()
    images = [_image("pause", ["/pause"]), _image("coredns", ["/coredns"])]
    _control_plane()
    _start_node(FIRST, images, ())
    _until("the default ServiceAccount", 90, *KUBECTL, "get", "serviceaccount", "default")
    run(*KUBECTL, "apply", "--server-side", "-f", CONFIG / "dns.json", stdout=subprocess.DEVNULL)
    _node_ready(FIRST)
    if two:
        _start_node(SECOND, images, _second_network())
        _node_ready(SECOND)
    ready = ("wait", "--for=condition=Available", "deployment/coredns", "--timeout=2s")
    _until("DNS", 120, *KUBECTL, "-n", "kube-system", *ready)
    say("DNS answers")
    (RUN / "ready").write_text(f"{time.monotonic() - BEGAN:.1f}", encoding="utf-8")
    _reap()


def _mounts() -> None:
    """Make private what the parts write to whatever their flags say: folders, and the sysctls of the machine."""
    run("mount", "--make-rshared", "/")  # within this mount namespace only
    run("mount", "-t", "tmpfs", "-o", "mode=755", "run", "/run")
    (RUN / "var-log").mkdir()
    run("mount", "--bind", RUN / "var-log", "/var/log")
    for name in ("var-lib", "var-lib-work"):
        (RUN / name).mkdir()
    layers = f"lowerdir=/var/lib,upperdir={RUN / 'var-lib'},workdir={RUN / 'var-lib-work'}"
    run("mount", "-t", "overlay", "-o", layers, "overlay", "/var/lib")
    # The kubelet sets these; where it reads the wanted value already it writes nothing.
    for name, value in (
        ("vm/overcommit_memory", 1),
        ("kernel/panic", 10),
        ("kernel/panic_on_oops", 1),
        ("vm/panic_on_oom", 0),
    ):
        shown = RUN / ("sysctl-" + name.replace("/", "-"))
        shown.write_text(f"{value}\n", encoding="utf-8")
        run("mount", "--bind", shown, f"/proc/sys/{name}")


def _network() -> None:
    run("ip", "link", "set", "lo", "up")
    run(
        "ip", "link", "add", "node0", "type", "bridge"
    )  # not every kernel has dummy devices, and the second node joins it
    run("ip", "addr", "add", f"{API_ADDRESS}/24", "dev", "node0")
    run("ip", "link", "set", "node0", "up")
    run("ip", "route", "add", "default", "dev", "node0")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1", encoding="utf-8")
    run("mount", "--bind", CONFIG / "resolv-node.conf", os.path.realpath("/etc/resolv.conf"))
    say("namespaces are ready")


def _second_network() -> tuple[str, ...]:
    """Give the second node a network namespace of its own, behind a link that can be cut; return how to enter it."""
    run("ip", "netns", "add", SECOND.name)
    # nsenter, for `ip netns exec` makes a mount namespace too, and kubelet and containerd must share one.
    inside = ("nsenter", f"--net=/run/netns/{SECOND.name}")
    run("ip", "link", "add", "link2", "type", "veth", "peer", "name", "eth0", "netns", SECOND.name)
    run("ip", "link", "set", "link2", "master", "node0")
    run("ip", "link", "set", "link2", "up")
    run(*inside, "ip", "link", "set", "lo", "up")
    run(*inside, "ip", "addr", "add", f"{SECOND.address}/24", "dev", "eth0")
    run(*inside, "ip", "link", "set", "eth0", "up")
    run(*inside, "ip", "route", "add", "default", "via", FIRST.address)
    run(*inside, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
    run("ip", "route", "add", SECOND.pods, "via", SECOND.address)
    return inside


def _image(name: str, entrypoint: list[str]) -> Path:
    """Make an image archive of one static binary: no builder is needed for that."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as archive:
        archive.add(BIN / name, arcname=name)
    content = layer.getvalue()
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Entrypoint": entrypoint, "User": "65535:65535"},
            "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(content).hexdigest()]},
        }
    ).encode()
    config_name = hashlib.sha256(config).hexdigest() + ".json"
    manifest = [{"Config": config_name, "RepoTags": [f"localhost/{name}:1"], "Layers": ["layer.tar"]}]
    path = RUN / f"{name}.tar"
    with tarfile.open(path, "w") as archive:
        for member, data in (
            (config_name, config),
            ("layer.tar", content),
            ("manifest.json", json.dumps(manifest).encode()),
        ):
            entry = tarfile.TarInfo(member)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


def _control_plane() -> None:
    _spawn(
        "etcd",
        *("etcd", "--data-dir", RUN / "etcd", "--unsafe-no-fsync", "--logger", "zap", "--log-level", "warn"),
        *("--listen-client-urls", "http://127.0.0.1:2379", "--advertise-client-urls", "http://127.0.0.1:2379"),
        *("--listen-peer-urls", "http://127.0.0.1:2380"),
    )
    _answers("http://127.0.0.1:2379/health", 30)
    say("etcd is ready")
    _spawn("kube-apiserver", *_api_server())
    _answers(f"https://{API_ADDRESS}:6443/readyz", 180)
    say("kube-apiserver is ready")
    _spawn("kube-controller-manager", *_controller_manager())
    scheduler = CONFIG / "scheduler.kubeconfig"
    _spawn(
        "kube-scheduler",
        *(BIN / "kube-scheduler", f"--kubeconfig={scheduler}", "--leader-elect=false", "--bind-address=127.0.0.1"),
        *(f"--cert-dir={RUN}/scheduler-cert", f"--authentication-kubeconfig={scheduler}"),
        f"--authorization-kubeconfig={scheduler}",
    )


def _api_server() -> tuple[object, ...]:
    issuer = "https://kubernetes.default.svc.cluster.local"
    return (
        BIN / "kube-apiserver",
        "--etcd-servers=http://127.0.0.1:2379",
        *(f"--advertise-address={API_ADDRESS}", "--bind-address=0.0.0.0", "--secure-port=6443"),
        f"--service-cluster-ip-range={SERVICES}",
        *("--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--anonymous-auth=true"),
        *(f"--client-ca-file={PKI}/ca.crt", f"--tls-cert-file={PKI}/apiserver.crt"),
        f"--tls-private-key-file={PKI}/apiserver.key",
        *(f"--service-account-issuer={issuer}", f"--service-account-key-file={PKI}/service-accounts.key"),
        f"--service-account-signing-key-file={PKI}/service-accounts.key",
        f"--kubelet-client-certificate={PKI}/apiserver-kubelet.crt",
        f"--kubelet-client-key={PKI}/apiserver-kubelet.key",
        *(f"--kubelet-certificate-authority={PKI}/ca.crt", "--kubelet-preferred-address-types=InternalIP"),
        *("--allow-privileged=true", "--profiling=false", f"--cert-dir={RUN}/apiserver-cert"),
        *(f"--audit-policy-file={CONFIG}/audit.json", f"--audit-log-path={LOGS}/audit.jsonl"),
    )


def _controller_manager() -> tuple[object, ...]:
    own = CONFIG / "controller-manager.kubeconfig"
    return (
        BIN / "kube-controller-manager",
        *(f"--kubeconfig={own}", f"--authentication-kubeconfig={own}", f"--authorization-kubeconfig={own}"),
        f"--service-account-private-key-file={PKI}/service-accounts.key",
        # A lost node is noticed soon, so that the tests need not wait for minutes; a kubelet reports every three seconds.
        "--node-monitor-grace-period=20s",
        *(f"--root-ca-file={PKI}/ca.crt", "--use-service-account-credentials=true"),
        *("--leader-elect=false", "--bind-address=127.0.0.1", f"--cert-dir={RUN}/controller-manager-cert"),
        *(f"--cluster-signing-cert-file={PKI}/ca.crt", f"--cluster-signing-key-file={PKI}/ca.key"),
    )


def _start_node(node: Node, images: list[Path], inside: tuple[str, ...]) -> None:
    suffix = node.suffix
    client = ("ctr", "-a", f"/run/containerd{suffix}/containerd.sock")
    _spawn(f"containerd{suffix}", *inside, "containerd", "-c", CONFIG / f"containerd{suffix}.toml")
    _until(f"containerd of {node.name}", 60, *client, "version")
    for image in images:
        run(*client, "-n", "k8s.io", "images", "import", image, stdout=subprocess.DEVNULL)
    _spawn(
        f"kubelet{suffix}",
        *(*inside, BIN / "kubelet", f"--config={CONFIG}/kubelet{suffix}.json"),
        *(f"--kubeconfig={CONFIG}/kubelet{suffix}.kubeconfig", f"--root-dir={RUN}/kubelet{suffix}"),
        *(f"--cert-dir={RUN}/kubelet-cert{suffix}", f"--hostname-override={node.name}", f"--node-ip={node.address}"),
    )
    _spawn(f"kube-proxy{suffix}", *inside, BIN / "kube-proxy", f"--config={CONFIG}/proxy{suffix}.json")
    _spawn(f"policies{suffix}", *inside, sys.executable, "-m", "node.policies")


def _node_ready(node: Node) -> None:
    _until(node.name, 90, *KUBECTL, "get", "node", node.name)
    _until(
        f"{node.name} to be Ready", 90, *KUBECTL, "wait", "--for=condition=Ready", f"node/{node.name}", "--timeout=2s"
    )
    say(f"{node.name} is Ready")


def _spawn(name: str, *command: object) -> None:
    with (LOGS / f"{name}.log").open("ab") as log:
        words = [str(word) for word in command]
        process = subprocess.Popen(words, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=RUN)
    _parts[process.pid] = name


def _answers(url: str, seconds: float) -> None:
    trust = None
    if url.startswith("https"):
        trust = ssl.create_default_context(cafile=str(PKI / "ca.crt"))
        trust.load_cert_chain(PKI / "admin.crt", PKI / "admin.key")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust))
    end = time.monotonic() + seconds
    while True:
        try:
            with opener.open(url, timeout=2):
                return
        except OSError as error:
            if time.monotonic() > end:
                raise SystemExit(f"{url} does not answer after {seconds:.0f} s: {error}; see {LOGS}") from error
            time.sleep(0.1)


def _until(what: str, seconds: float, *command: object) -> None:
    end = time.monotonic() + seconds
    while not succeeds(*command):
        for pid, name in _parts.items():
            if Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0] == "Z":
                raise SystemExit(f"{name} ended while {what} was waited for; see {LOGS}/{name}.log")
        if time.monotonic() > end:
            raise SystemExit(f"no {what} in {seconds:.0f} s; see {LOGS}")
        time.sleep(0.2)


def _reap() -> NoReturn:
    while True:  # container shims come back to process 1
        try:
            pid, status = os.wait()
        except ChildProcessError:
            time.sleep(1)
            continue
        if pid in _parts:
            say(f"{_parts.pop(pid)} ended with status {status}")
