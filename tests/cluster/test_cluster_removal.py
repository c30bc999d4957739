"""Everything is removed at uninstall, in the order of docs/kubernetes.md; the last thing that is done to the cluster."""

from __future__ import annotations

import pytest
import scenes
from scenes import helm, inside, kubectl, names, start_run, until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(700, func_only=True), pytest.mark.usefixtures("installed")]

CLAIM = ["persistentvolumeclaim/flights-batchscore"]
KINDS = (
    "cronjobs,jobs,pods,deployments,services,configmaps,secrets,serviceaccounts,roles,rolebindings,networkpolicies,"
    "daskclusters,daskworkergroups,persistentvolumeclaims"
)


def _is_remembered() -> bool:
    """Whether the Pushgateway knows of this environment; the other one was to be remembered."""
    path = "/api/v1/namespaces/monitoring/services/pushgateway:9091/proxy/metrics"
    text = inside("kubectl", "get", "--raw", path).stdout
    return any('environment="test"' in line and 'pipeline="flights"' in line for line in text.splitlines())


def test_uninstall_in_mid_run() -> None:
    """Uninstall in mid-run leaves nothing but the claim, once the Job that was made by hand is deleted, and forgets the metrics."""
    job = start_run("last")
    until("the first partitions", 240, lambda: scenes.records("last") >= 4)
    told = _is_remembered()
    helm("uninstall", scenes.RELEASE, "--wait", "--timeout", "240s")
    kubectl("delete", "jobs", "--all")
    until("nothing of the run left", scenes.GONE, lambda: not scenes.left(job))
    selector = ("-l", f"app.kubernetes.io/instance={scenes.RELEASE}")
    until("nothing of the release left but the claim", 120, lambda: names(KINDS, *selector) == CLAIM)
    until("nothing in the Pushgateway", 20, lambda: not _is_remembered())

    assert told


def test_operator_goes_last() -> None:
    """The operator and its CRDs go without leaving anything in Terminating."""
    # A driver ends before its cluster is gone when the removal takes its longest, which is a minute.
    until("no Dask cluster", scenes.GONE, lambda: not names("daskclusters", "--all-namespaces"))
    helm("uninstall", "dask-operator", "--wait", "--timeout", "120s", namespace="dask-operator")
    crds = [f"dask{kind}.kubernetes.dask.org" for kind in ("clusters", "workergroups", "jobs", "autoscalers")]
    kubectl("delete", "crd", *crds, "--timeout=60s")

    # helm waits for the objects of the chart, not for the pods of a Deployment, which end by themselves.
    until("nothing of the operator left", 60, lambda: not names("deployments,pods", namespace="dask-operator"))

    assert [name for name in names("crd") if "dask" in name] == []
