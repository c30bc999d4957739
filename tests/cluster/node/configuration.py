"""The configuration files of the node's parts: containerd, CNI, kubelet, kube-proxy, audit, DNS."""

from __future__ import annotations

import json
from typing import Any

from node.layout import CGROUP, CONFIG, DNS_ADDRESS, FIRST, LOGS, PKI, PODS, RUN, Node

CONTAINERD = """version = 2
root = "{run}/containerd{suffix}"
state = "/run/containerd{suffix}"
oom_score = 0
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]
[grpc]
  address = "/run/containerd{suffix}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  disable_apparmor = true
  # Without the capability CAP_SYS_RESOURCE no score may be lowered, and no pod would start.
  restrict_oom_score_adj = true
  tolerate_missing_hugetlb_controller = true
  disable_hugetlb_controller = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
        BinaryName = "runc"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{config}/cni{suffix}"
"""

CORE_FILE = """.:53 {
  health :8080
  ready :8181
  errors
  kubernetes cluster.local in-addr.arpa {
    ttl 5
  }
  cache 5
}
"""


def write(nodes: tuple[Node, ...]) -> None:
    """Write the files of all parts."""
    for node in nodes:
        _node(node)
    (CONFIG / "resolv.conf").write_text("# no upstream\n", encoding="utf-8")
    search = "search default.svc.cluster.local svc.cluster.local cluster.local"
    (CONFIG / "resolv-node.conf").write_text(f"{search}\nnameserver {DNS_ADDRESS}\noptions ndots:5\n", encoding="utf-8")
    _json("audit.json", _audit())
    _json("dns.json", {"apiVersion": "v1", "kind": "List", "items": _dns()})


def _json(name: str, content: object) -> None:
    (CONFIG / name).write_text(json.dumps(content), encoding="utf-8")


def _node(node: Node) -> None:
    suffix = node.suffix
    text = CONTAINERD.format(run=RUN, config=CONFIG, suffix=suffix)
    (CONFIG / f"containerd{suffix}.toml").write_text(text, encoding="utf-8")
    (CONFIG / f"cni{suffix}").mkdir()
    # ptp and no bridge: every packet is routed through the node's own namespace, so the way to a Service of a pod on the
    # same node works without br_netfilter, and a policy can be enforced there.
    ranges = {"type": "host-local", "dataDir": f"/run/cni-ipam{suffix}", "ranges": [[{"subnet": node.pods}]]}
    pods = {"type": "ptp", "mtu": 1500, "ipMasq": False, "ipam": {**ranges, "routes": [{"dst": "0.0.0.0/0"}]}}
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    _json(f"cni{suffix}/10-pods.conflist", {"cniVersion": "0.4.0", "name": "pods", "plugins": [pods, ports]})
    _json(f"kubelet{suffix}.json", _kubelet(node))
    _json(f"proxy{suffix}.json", _proxy(node))


def _kubelet(node: Node) -> dict[str, Any]:
    suffix = node.suffix
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{CGROUP}" if node is FIRST else f"/{CGROUP}/second",
        "failCgroupV1": False,
        "failSwapOn": False,
        "nodeLeaseDurationSeconds": 12,
        "containerRuntimeEndpoint": f"unix:///run/containerd{suffix}/containerd.sock",
        "oomScoreAdj": 0,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(PKI / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(PKI / f"kubelet{suffix}-server.crt"),
        "tlsPrivateKeyFile": str(PKI / f"kubelet{suffix}-server.key"),
        "clusterDNS": [DNS_ADDRESS],
        "clusterDomain": "cluster.local",
        "resolvConf": str(CONFIG / "resolv.conf"),
        "volumePluginDir": str(RUN / f"volume-plugins{suffix}"),
        "podLogsDir": str(LOGS / f"pods{suffix}"),
        "protectKernelDefaults": False,
        "imageGCHighThresholdPercent": 100,
        "maxPods": 100,
        "evictionHard": {
            "memory.available": "200Mi",
            "nodefs.available": "1%",
            "nodefs.inodesFree": "1%",
            "imagefs.available": "1%",
        },
    }


def _proxy(node: Node) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clusterCIDR": PODS,
        "hostnameOverride": node.name,
        "clientConnection": {"kubeconfig": str(CONFIG / "proxy.kubeconfig")},
        # These sysctls can not be written in a network namespace of one's own.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }


def _audit() -> dict[str, Any]:
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [{"level": "Metadata", "userGroups": ["system:serviceaccounts"]}, {"level": "None"}],
    }


def _dns() -> list[dict[str, Any]]:
    labels = {"k8s-app": "kube-dns"}
    core = {"name": "coredns", "namespace": "kube-system"}
    reads = [
        {"apiGroups": [""], "resources": ["endpoints", "services", "pods", "namespaces"], "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]
    rbac = "rbac.authorization.k8s.io/v1"
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:coredns"}
    container = {
        "name": "coredns",
        "image": "localhost/coredns:1",
        "imagePullPolicy": "Never",
        "args": ["-conf", "/etc/coredns/Corefile"],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
        "securityContext": {
            "runAsUser": 0,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
        },
        "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns"}],
    }
    pod = {
        "serviceAccountName": "coredns",
        "dnsPolicy": "Default",
        "priorityClassName": "system-cluster-critical",
        "nodeSelector": {"kubernetes.io/hostname": FIRST.name},
        "containers": [container],
        "volumes": [{"name": "config", "configMap": {"name": "coredns"}}],
    }
    template = {"metadata": {"labels": labels}, "spec": pod}
    ports = [{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"}]
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": core},
        {"apiVersion": rbac, "kind": "ClusterRole", "metadata": {"name": "system:coredns"}, "rules": reads},
        {
            "apiVersion": rbac,
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "system:coredns"},
            "roleRef": role,
            "subjects": [{"kind": "ServiceAccount", **core}],
        },
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": core, "data": {"Corefile": CORE_FILE}},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "kube-dns", "namespace": "kube-system"},
            "spec": {"clusterIP": DNS_ADDRESS, "selector": labels, "ports": ports},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": core,
            "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
        },
    ]
