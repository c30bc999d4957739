"""The DaskCluster that a configuration would make, checked without a cluster."""

from __future__ import annotations

from batchscore.cluster import daskcluster
from batchscore.cluster.job import Identity
from batchscore.cluster.options import KubernetesOptions

_NOBODY = Identity(namespace="x", pod="x", job="x", job_uid="x", owner="x", config_map="x")


def check_options(options: KubernetesOptions) -> None:
    """Build the DaskCluster of `options` and check it against the operator's own schema.

    The image may be missing: the chart fills it in.

    Raises:
        ConfigError: With the path and the fact of every violation, as a run would end with it.
    """
    image = options.image or "x"
    daskcluster.build("x", options.model_copy(update={"image": image}), _NOBODY, workers=options.max_workers)
