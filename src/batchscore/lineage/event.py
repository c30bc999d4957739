"""One event as JSON, from what a run is about and what it published."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from openlineage.client.event_v2 import InputDataset, OutputDataset, Run

PRODUCER = "urn:batchscore"
"""Who made an event, as OpenLineage wants it: a URI."""

Kind = Literal["START", "COMPLETE", "FAIL"]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What the events of one run are about."""

    run_id: str
    """The run's id: 128 bits in hex, which is a UUID without its dashes."""
    namespace: str
    """The namespace of the job."""
    pipeline: str
    """The pipeline; the job's name."""
    date: str
    """The snapshot's date, ISO."""
    snapshot: str
    """Path or address of the snapshot."""
    output: str
    """Path or address of the output root."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """What a run published."""

    manifest: Mapping[str, Any]
    """The content of `manifest.json`."""
    summary: Mapping[str, Any]
    """The content of `summary_metrics.json`."""


def event(subject: Subject, kind: Kind, moment: float, said: Published | str | None = None) -> bytes:
    """Return an event as JSON.

    Args:
        subject: What it is about.
        kind: What happened to the run.
        moment: When, in epoch seconds.
        said: What was published, or the error of a failed run in one sentence.
    """
    from openlineage.client.event_v2 import Job, RunEvent, RunState
    from openlineage.client.serde import Serde

    published = said if isinstance(said, Published) else None
    content = RunEvent(
        eventTime=datetime.fromtimestamp(moment, UTC).isoformat(timespec="microseconds"),
        producer=PRODUCER,
        run=_run(subject, said if isinstance(said, str) else ""),
        job=Job(namespace=subject.namespace, name=subject.pipeline),
        eventType=RunState(kind),
        inputs=[_input(subject, published)],
        outputs=[_output(subject, published)],
    )
    return Serde.to_json(content).encode()


def _run(subject: Subject, error: str) -> Run:
    from openlineage.client.event_v2 import Run
    from openlineage.client.facet_v2 import error_message_run, nominal_time_run

    facets: dict[str, Any] = {
        "nominalTime": nominal_time_run.NominalTimeRunFacet(f"{subject.date}T00:00:00+00:00", producer=PRODUCER)
    }
    if error:
        facets["errorMessage"] = error_message_run.ErrorMessageRunFacet(error, "python", producer=PRODUCER)
    return Run(runId=str(uuid.UUID(hex=subject.run_id)), facets=facets)


def _input(subject: Subject, published: Published | None) -> InputDataset:
    from openlineage.client.event_v2 import InputDataset
    from openlineage.client.facet_v2 import dataset_version_dataset, input_statistics_input_dataset

    namespace, name = _place(subject.snapshot)
    if published is None:
        return InputDataset(namespace=namespace, name=name)
    counted = input_statistics_input_dataset.InputStatisticsInputDatasetFacet(
        rowCount=published.summary["rows"]["read"],
        size=published.summary["input_bytes"],
        fileCount=len(published.manifest["plan"]["inputs"]),
        producer=PRODUCER,
    )
    version = dataset_version_dataset.DatasetVersionDatasetFacet(published.manifest["input_id"], producer=PRODUCER)
    return InputDataset(
        namespace=namespace, name=name, inputFacets={"inputStatistics": counted}, facets={"version": version}
    )


def _output(subject: Subject, published: Published | None) -> OutputDataset:
    from openlineage.client.event_v2 import OutputDataset
    from openlineage.client.facet_v2 import dataset_version_dataset, output_statistics_output_dataset

    namespace, name = _place(f"{subject.output.rstrip('/')}/{subject.date}/predictions.parquet")
    if published is None:
        return OutputDataset(namespace=namespace, name=name)
    counted = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
        rowCount=published.summary["rows"]["written"],
        size=published.summary["output_bytes"],
        fileCount=len(published.manifest["parts"]),
        producer=PRODUCER,
    )
    version = dataset_version_dataset.DatasetVersionDatasetFacet(
        published.manifest["logical_sha256"], producer=PRODUCER
    )
    return OutputDataset(
        namespace=namespace, name=name, outputFacets={"outputStatistics": counted}, facets={"version": version}
    )


def _place(path: str) -> tuple[str, str]:
    """Return namespace and name as OpenLineage names datasets: a bucket and a key, or `file` and an absolute path."""
    scheme, separator, rest = path.partition("://")
    if not separator:
        return "file", str(Path(path).absolute())
    bucket, _, key = rest.partition("/")
    return f"{scheme}://{bucket}", key
