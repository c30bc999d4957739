"""The catalogue and what it makes of published documents."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import documents
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchscore.errors import EXIT_CODES, ConfigError
from batchscore.metrics import (
    CATALOGUE,
    PREFIX,
    AlertsOptions,
    Attempt,
    MetricsOptions,
    Samples,
    attempt_samples,
    render,
    samples,
    start_samples,
)
from batchscore.metrics.readers import MAX_BUCKETS, MAX_FEATURES, Histogram
from batchscore.strict import parse_section

DOCS = Path(__file__).parents[2] / "docs"


def values(content: tuple[Samples, ...]) -> dict[str, Any]:
    """Return the values by name; a lone value as itself."""
    found = {item.metric.name.removeprefix(PREFIX): item.values for item in content}
    return {name: next(iter(v.values())) if list(v) == [()] else v for name, v in found.items()}


def test_every_number_of_a_success_is_the_documents() -> None:
    """Each number of the documents lands under its own name, compared whole."""
    shown = values(samples(documents.summary(), documents.metadata()))
    plain = {name: v for name, v in shown.items() if isinstance(v, float)}

    assert plain == {
        "last_run_start_timestamp_seconds": 1360376100.25,
        "run_timeout_seconds": 7200.0,
        "last_run_completion_timestamp_seconds": 1360376142.5,
        "last_run_success": 1.0,
        "last_run_duration_seconds": 42.25,
        "last_run_attempts": 1.0,
        "last_run_held": 0.0,
        "last_success_timestamp_seconds": 1360376142.5,
        "last_success_snapshot_timestamp_seconds": 1360281600.0,
        "next_success_deadline_timestamp_seconds": 1360548900.0,
        "last_success_duration_seconds": 42.25,
        "read_rows": 1000.0,
        "scored_rows": 980.0,
        "written_rows": 980.0,
        "flagged_rows": 210.0,
        "input_bytes": 123456.0,
        "output_bytes": 65432.0,
        "partitions": 2.0,
        "retried_partitions": 1.0,
        "workers": 2.0,
        "peak_worker_memory_bytes": 536870912.0,
        "baseline_scored_rows": 1900.0,
        "baseline_deviation_rows": 95.0,
        "baseline_runs": 5.0,
        "input_unchanged": 0.0,
        "prediction_drift_psi": 0.11,
        "alert_volume_low_ratio": 0.6,
        "alert_volume_high_ratio": 1.6,
        "alert_baseline_runs": 4.0,
        "alert_rejected_ratio": 0.02,
        "alert_slow_ratio": 2.0,
        "alert_slow_min_seconds": 120.0,
        "alert_prediction_drift_psi": 0.2,
        "alert_feature_drift_psi": 0.25,
    }
    assert shown["run_info"] == {("flights_late", "1.2.0", "6f" * 6, "0.1.0"): 1.0}
    assert shown["missing_values_ratio"][("wind_speed",)] == 0.04
    assert (shown["prediction_score"].total, shown["prediction_score"].count) == (312.5, 980.0)
    assert shown["stage_duration_seconds"][("score",)] == 30.0
    assert shown["rejected_rows"] == {
        ("above-max",): 0.0,
        ("below-min",): 5.0,
        ("not-finite",): 0.0,
        ("null",): 12.0,
        ("unknown-category",): 4.0,
    }
    assert shown["partition_duration_seconds"] == Histogram(
        buckets=((0.1, 0.0), (1.0, 0.0), (10.0, 1.0), (100.0, 2.0)), count=2.0, total=28.5
    )


def test_a_first_run_without_reference_and_schedule_leaves_out_what_it_does_not_know() -> None:
    """What does not exist is absent: a zero would be a statement."""
    shown = values(
        samples(
            documents.summary(drift=None),
            documents.metadata(
                volume=None,
                next_deadline=None,
                input_unchanged=None,
                run_timeout_seconds=None,
                alerts={"slow_ratio": None},
            ),
        )
    )

    everything = {metric.name.removeprefix(PREFIX) for metric in CATALOGUE}
    assert shown["baseline_runs"] == 0.0
    assert {name for name in everything - shown.keys() if not name.startswith("alert_")} == {
        "run_timeout_seconds",
        "next_success_deadline_timestamp_seconds",
        "baseline_scored_rows",
        "baseline_deviation_rows",
        "input_unchanged",
        "feature_drift_psi",
        "prediction_drift_psi",
    }


def test_a_failure_names_its_reason_among_all_reasons() -> None:
    """Every reason of the table of exit codes is pushed, one of them 1."""
    shown = values(attempt_samples(Attempt(started=0.0, ended=5.0, reason="gate", held=True)))

    assert {name for name, value in shown["last_run_failure"].items() if value} == {("gate",)}
    assert {name for (name,) in shown["last_run_failure"]} == {row.reason for row in EXIT_CODES if row.reason}
    assert (shown["last_run_success"], shown["last_run_held"]) == (0.0, 1.0)


def test_a_start_is_two_numbers() -> None:
    """At the start nothing but the start is known."""
    assert values(start_samples(Attempt(started=7.0, timeout=60.0))) == {
        "last_run_start_timestamp_seconds": 7.0,
        "run_timeout_seconds": 60.0,
    }


def widest() -> tuple[Samples, ...]:
    """Return the most samples that a run can push."""
    names = [f"customer_feature_{place:03d}" for place in range(200)]
    profiles = {name: documents.profile() for name in names}
    drift = {name: {"psi": 0.123456789} for name in names}
    summary = documents.summary(
        profiles={"features": profiles, "scores": {"prediction": documents.profile()}},
        drift={"features": drift, "prediction": {"psi": 0.5}},
        rejected={f"reason-{place}": 123_456_789 for place in range(40)},
        histograms={"prediction": {"edges": [i / 300 for i in range(301)], "counts": [123_456] * 300}},
    )
    return samples(summary, documents.metadata())


def test_a_push_stays_small_however_wide_the_data() -> None:
    """With 200 features and 40 reasons a push is below 12 kB, because what is many is folded."""
    content = widest()
    series = sum(item.series for item in content)

    assert len(render(content).encode()) < 12_000
    assert series <= 125
    assert len(dict(values(content)["feature_drift_psi"])) == MAX_FEATURES + 1
    assert len(values(content)["prediction_score"].buckets) <= MAX_BUCKETS


def of_features(count: int) -> tuple[Samples, ...]:
    """Return the push of so many features, none of their numbers a round one."""
    names = [f"feature_{place:02d}" for place in range(count)]
    profiles = {name: documents.profile(nulls=17) for name in names}
    summary = documents.summary(
        profiles={"features": profiles, "scores": {"prediction": documents.profile()}},
        drift={"features": {name: {"psi": 0.0123456789012345} for name in names}, "prediction": {"psi": 0.5}},
    )
    return samples(summary, documents.metadata())


@pytest.mark.parametrize(("features", "series", "size"), [(5, 85, 9_000), (20, 115, 11_000)])
def test_a_push_is_as_big_as_the_docs_say(features: int, series: int, size: int) -> None:
    """`docs/metrics.md` has these numbers: five features stay below 10 kB, twenty do not."""
    content = of_features(features)
    told = (DOCS / "metrics.md").read_text()

    assert sum(item.series for item in content) == pytest.approx(series, abs=3)
    assert len(render(content).encode()) == pytest.approx(size, abs=400)
    assert f"some {series} series and {size // 1000} kB" in told or f"some {series} and {size // 1000} kB" in told


def test_folding_keeps_the_worst_and_the_total() -> None:
    """What is folded cannot hide: drift keeps its maximum, rows keep their sum, `other` keeps its own."""
    drift = {f"f{place:02d}": {"psi": 0.01} for place in range(30)} | {"other": {"psi": 0.7}, "zz": {"psi": 0.4}}
    rejected = {f"r{place:02d}": 1 for place in range(20)}

    shown = values(
        samples(
            documents.summary(drift={"features": drift, "prediction": None}, rejected=rejected), documents.metadata()
        )
    )

    assert shown["feature_drift_psi"][("other",)] == 0.7
    assert sum(shown["rejected_rows"].values()) == 20


@given(
    counts=st.lists(st.integers(0, 10**9), min_size=1, max_size=60),
    beyond=st.booleans(),
)
def test_histograms_add_up(counts: list[int], beyond: bool) -> None:
    """Buckets ascend, never fall, and the count is every value, however the bins are joined."""
    edges = list(range(len(counts) + (-1 if beyond else 1)))
    if not edges:
        return
    content = samples(
        documents.summary(histograms={"prediction": {"edges": edges, "counts": counts}}), documents.metadata()
    )

    histogram = values(content)["prediction_score"]
    bounds, below = zip(*histogram.buckets, strict=True)
    assert list(bounds) == sorted(set(bounds))
    assert list(below) == sorted(below)
    assert bounds[-1] == edges[-1]
    assert histogram.count == sum(counts) >= below[-1]


def test_the_text_is_prometheus_text_without_timestamps() -> None:
    """Every line is a comment or `name{labels} value`: a third field would be a timestamp and a 400."""
    text = render(samples(documents.summary(), documents.metadata()))

    assert all(re.fullmatch(r"# (HELP|TYPE) .+|batchscore_\w+(\{.*\})? \S+", line) for line in text.splitlines())
    assert "_created" not in text


def test_a_label_cannot_break_the_text() -> None:
    """Quotes, backslashes and line ends in a name are escaped, not obeyed."""
    drift = {'a"b\\c\nd': {"psi": 0.1}}

    text = render(samples(documents.summary(drift={"features": drift, "prediction": None}), documents.metadata()))

    assert 'batchscore_feature_drift_psi{feature="a\\"b\\\\c\\nd"} 0.1' in text.splitlines()


def test_the_thresholds_are_the_alerts_section() -> None:
    """Every key of `alerts` has its row, and no row is without its key."""
    rows = {metric.name.removeprefix(f"{PREFIX}alert_") for metric in CATALOGUE if f"{PREFIX}alert_" in metric.name}

    assert rows == set(AlertsOptions.model_fields)
    assert documents.metadata()["alerts"] == AlertsOptions().model_dump()


def test_names_are_unique_and_say_their_unit() -> None:
    """One name, one meaning; a name of seconds, bytes, rows or a ratio ends so."""
    names = [metric.name for metric in CATALOGUE]

    assert len(set(names)) == len(names)
    for metric in CATALOGUE:
        if metric.unit in {"seconds", "bytes", "rows", "ratio"}:
            assert metric.name.endswith(metric.unit), metric.name


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ({"pushgateway": "gateway:9091"}, "such as http://pushgateway:9091"),
        ({"pushgateway": "http://user:secret@gateway:9091"}, "secrets stand in files"),
        ({"pushgateway": "http://gateway:9091/?a=b"}, "secrets stand in files"),
        ({"basic_auth_user": "batch"}, "belong together"),
        (
            {"basic_auth_user": "b", "basic_auth_password_file": "p", "bearer_token_file": "t"},
            "exclude each other",
        ),
        ({"budget_seconds": 0}, "greater than or equal"),
        ({"pushgateways": "x"}, "did you mean 'pushgateway'?"),
    ],
)
def test_wrong_options_are_refused(section: dict[str, Any], says: str) -> None:
    """Each wrong section is one sentence."""
    with pytest.raises(ConfigError, match=re.escape(says)):
        parse_section(MetricsOptions, section, source="config.yaml")
