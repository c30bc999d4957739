"""The content of the three JSON files of a published run. Pure.

summary_metrics.json and manifest.json are the same for every execution of the same plan;
clocks, hosts and other dates appear only in metadata.json.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from batchscore.plan import Plan, digest_of, partition_record
from batchscore.profile import NumericProfile, Profile, histogram, quantiles
from batchscore.report import Part, PartitionReport, Totals, input_records, report_from

FORMAT_VERSION = 1
"""Version of the JSON files' format."""


def summary_document(plan: Plan, totals: Totals, drift: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the content of summary_metrics.json: the same for every execution of the same plan.

    Args:
        plan: The plan.
        totals: The sum of all partition reports.
        drift: Drift against the pinned reference; None without one.
    """
    return {
        "format_version": FORMAT_VERSION,
        "pipeline": plan.pipeline,
        "date": plan.date,
        "plan_id": plan.plan_id,
        "rows": totals.rows(),
        "rejected": dict(sorted(totals.rejected.items())),
        "counts": dict(sorted(totals.counts.items())),
        "partitions": [_partition_counts(report) for report in totals.in_order],
        "profiles": {
            "features": {name: found.to_dict() for name, found in totals.features.items()},
            "scores": {name: found.to_dict() for name, found in totals.scores.items()},
        },
        "histograms": score_histograms(totals.scores),
        "quantiles": {name: quantiles(found) for name, found in _numeric(totals.scores)},
        "drift": drift,
        "id_digest": totals.digest("id_digest"),
        "input_bytes": sum(file.size for file in plan.inputs),
        "output_bytes": sum(part.size for part in _parts(totals)),
        **({"base": dict(plan.base)} if plan.base else {}),
    }


def score_histograms(scores: Mapping[str, Profile]) -> dict[str, dict[str, Any]]:
    """Return the histogram of every score that is a probability, by name; other scores have no fixed bins."""
    return {name: dict(histogram(found)) for name, found in _numeric(scores) if found.unit}


def manifest_document(
    plan: Plan,
    totals: Totals,
    single_file: Mapping[str, Any] | None = None,
    earlier: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Return the content of manifest.json: the plan, every part, every byte range read; the same on every execution.

    Args:
        plan: The plan.
        totals: The sum of all partition reports.
        single_file: sha256 and size of the predictions, when they are one file.
        earlier: The partitions of the plan's base, as its manifest has them.
    """
    reports = totals.in_order
    return {
        "format_version": FORMAT_VERSION,
        "plan_id": plan.plan_id,
        "input_id": plan.input_id,
        "plan": plan.record(),
        "partitions": [*earlier, *(partition_record(partition) for partition in plan.partitions)],
        "parts": [asdict(report.predictions) for report in reports],
        "single_file": single_file,
        "quarantine": [asdict(part) for part in totals.quarantine],
        "inputs": [input_records(report) for report in reports],
        "id_digest": totals.digest("id_digest"),
        "scored_id_digest": totals.digest("scored_id_digest"),
        "rejected_id_digest": totals.digest("rejected_id_digest"),
        "logical_sha256": digest_of([report.predictions.logical_sha256 for report in reports]),
    }


def totals_from(summary: Mapping[str, Any], manifest: Mapping[str, Any]) -> Totals:
    """Rebuild the totals of a published run from its documents, but for the reports' parts of rows set aside.

    Args:
        summary: The content of summary_metrics.json.
        manifest: The content of manifest.json.
    """
    digests = {name: int(manifest[name], 16) for name in ("id_digest", "scored_id_digest", "rejected_id_digest")}
    none = dict.fromkeys(digests, 0)
    totals = Totals()
    for at, (counts, part) in enumerate(zip(summary["partitions"], manifest["parts"], strict=True)):
        first = at == 0
        totals.add(
            report_from(
                {
                    "index": counts["index"],
                    **{f"{name}_rows": counts[name] for name in ("read", "scored", "rejected", "flagged")},
                    # Sums of the whole run; which report carries them makes no difference.
                    "rejected": summary["rejected"] if first else {},
                    "counts": summary["counts"] if first else {},
                    "features": summary["profiles"]["features"] if first else {},
                    "scores": summary["profiles"]["scores"] if first else {},
                    **(digests if first else none),
                    "predictions": part,
                    "quarantine": None,
                    "inputs": manifest["inputs"][at],
                }
            )
        )
    totals.again = totals.rows()["read"] - summary["rows"]["read"]
    return totals


def _partition_counts(report: PartitionReport) -> dict[str, int]:
    return {
        "index": report.index,
        "read": report.read_rows,
        "scored": report.scored_rows,
        "rejected": report.rejected_rows,
        "flagged": report.flagged_rows,
    }


def _numeric(profiles: Mapping[str, Profile]) -> Iterator[tuple[str, NumericProfile]]:
    for name, found in profiles.items():
        if isinstance(found, NumericProfile):
            yield name, found


def _parts(totals: Totals) -> Iterator[Part]:
    yield from (report.predictions for report in totals.in_order)
    yield from totals.quarantine
