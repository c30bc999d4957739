"""Gates turn numbers into verdicts, in all three modes."""

from __future__ import annotations

from typing import Any

import pytest

from batchscore.errors import ConfigError, Held
from batchscore.gate import (
    DriftOptions,
    Expected,
    FlaggedOptions,
    Mode,
    RejectedOptions,
    Verdict,
    VolumeOptions,
    judge_drift,
    judge_flagged,
    judge_rejected,
    judge_volume,
    refusal,
    worst,
)
from batchscore.strict import Section, parse_section

FRIDAYS = Expected(rows=1000.0, deviation=50.0, runs=8, label="Fridays")
MODES: tuple[Mode, ...] = ("warn", "hold", "fail")


def volume(rows: int, expected: Expected = FRIDAYS, **options: Any) -> Verdict:
    """Judge a volume on a Friday."""
    return judge_volume(VolumeOptions(**options), date="2013-02-08", rows=rows, expected=expected)


@pytest.mark.parametrize("mode", MODES)
def test_every_gate_obeys_its_mode(mode: Mode) -> None:
    """A breach has the outcome that the section asks for; without one every gate passes."""
    pin: dict[str, Any] = {"on_breach": mode}
    good = [
        volume(900, **pin),
        judge_drift(DriftOptions(**pin), rows=900, features={"a": 0.25}, predictions={"prediction": 0.2}),
        judge_flagged(FlaggedOptions(min_share=0.1, max_share=0.2, **pin), flagged=10, scored=100),
        judge_rejected(RejectedOptions(max_share=0.01, **pin), rejected=1, read=100),
    ]
    bad = [
        volume(599, **pin),
        judge_drift(DriftOptions(**pin), rows=900, features={"a": 0.26}, predictions={"prediction": 0.1}),
        judge_drift(DriftOptions(**pin), rows=900, features={"a": 0.1}, predictions={"prediction": 0.21}),
        judge_flagged(FlaggedOptions(min_share=0.1, max_share=0.2, **pin), flagged=9, scored=100),
        judge_flagged(FlaggedOptions(min_share=0.1, max_share=0.2, **pin), flagged=21, scored=100),
        judge_rejected(RejectedOptions(max_share=0.01, **pin), rejected=2, read=100),
    ]

    assert {verdict.outcome for verdict in good} == {"pass"}
    assert {verdict.outcome for verdict in bad} == {mode}
    assert {verdict.mode for verdict in [*good, *bad]} == {mode}


@pytest.mark.parametrize(
    ("rows", "outcome"), [(0, "warn"), (599, "warn"), (600, "pass"), (1000, "pass"), (1600, "pass"), (1601, "warn")]
)
def test_the_default_band_is_from_40_percent_below_to_60_above(rows: int, outcome: str) -> None:
    """The limits themselves are within the band."""
    assert volume(rows).outcome == outcome


def test_a_volume_verdict_says_the_numbers() -> None:
    """The sentence and the record carry what was compared."""
    assert volume(458, Expected(rows=911.0, deviation=46.0, runs=5, label="Fridays")).record() == {
        "gate": "volume",
        "verdict": "warn",
        "mode": "warn",
        "message": "458 rows: 50% below the 911 of 5 Fridays, a drop of more than volume.max_drop 40%",
        "numbers": {"rows": 458, "baseline_rows": 911.0, "deviation_rows": 46.0, "baseline_runs": 5, "ratio": 0.5027},
    }


@pytest.mark.parametrize(
    ("expected", "options", "note"),
    [
        (Expected(rows=1000.0, deviation=50.0, runs=3, label="Fridays"), {}, "3 of 4 Fridays are published"),
        (Expected(rows=None, deviation=None, runs=0, label="Fridays"), {}, "0 of 4 Fridays are published"),
        (Expected(rows=0.0, deviation=0.0, runs=8, label="Sundays"), {}, "Sundays usually have no rows"),
        (FRIDAYS, {"ignore_dates": ("2013-02-08",)}, "one of volume.ignore_dates"),
    ],
)
def test_without_a_comparison_only_absolute_limits_count(
    expected: Expected, options: dict[str, Any], note: str
) -> None:
    """A young pipeline, an empty weekday and a known odd day are judged by min_rows and max_rows alone."""
    assert volume(10, expected, **options).outcome == "pass"
    assert note in volume(10, expected, **options).message
    assert volume(10, expected, min_rows=11, **options).outcome == "warn"
    assert volume(10, expected, max_rows=9, **options).outcome == "warn"


def test_limits_can_be_switched_off() -> None:
    """Null means that nothing is judged."""
    off = DriftOptions(max_feature_psi=None, max_prediction_psi=None)

    assert volume(0, max_drop=None).outcome == "pass"
    assert volume(99_999, max_rise=None).outcome == "pass"
    assert judge_drift(off, rows=900, features={"a": 9.0}, predictions={"prediction": 9.0}).outcome == "pass"
    assert judge_flagged(FlaggedOptions(), flagged=100, scored=100).outcome == "pass"
    assert judge_rejected(RejectedOptions(), rejected=100, read=100).outcome == "pass"


def test_drift_names_the_worst_features_first() -> None:
    """At most five names, the rest as a count; ignored features are not judged."""
    features = {f"f{number}": number / 10 for number in range(10)}
    verdict = judge_drift(
        DriftOptions(ignore_features=("f9",)), rows=900, features=features, predictions={"prediction": 0.0}
    )

    assert verdict.message == (
        "largest PSI 0.800 of feature 'f8', feature 'f8' has PSI 0.800 over 0.25, "
        "feature 'f7' has PSI 0.700 over 0.25, "
        "feature 'f6' has PSI 0.600 over 0.25, feature 'f5' has PSI 0.500 over 0.25, "
        "feature 'f4' has PSI 0.400 over 0.25, and 1 more"
    )
    assert verdict.numbers == {"rows": 900, "max_feature_psi": 0.8, "max_prediction_psi": 0.0}


def test_small_samples_and_empty_runs_are_not_judged() -> None:
    """The index of few rows is noise, and a share of no rows is none."""
    few = judge_drift(DriftOptions(), rows=499, features={"a": 9.0}, predictions={})
    none = judge_drift(DriftOptions(), rows=500, features={}, predictions={})

    assert (few.outcome, none.outcome) == ("pass", "pass")
    assert "fewer than drift.min_rows 500" in few.message
    assert judge_flagged(FlaggedOptions(min_share=0.5), flagged=0, scored=0).message == "0 of 0 rows flagged"
    assert judge_rejected(RejectedOptions(max_share=0.0), rejected=0, read=0).outcome == "pass"


def test_the_gravest_verdict_decides() -> None:
    """Fail over hold over warn over pass; only hold and fail stop a run, and only hold can be released."""
    passed, warned, held, failed = volume(1000), *(volume(1, on_breach=mode) for mode in MODES)

    assert [worst(some) for some in ([], [passed], [warned, passed], [held, warned], [held, failed])] == [
        "pass",
        "pass",
        "warn",
        "hold",
        "fail",
    ]
    assert refusal([passed, warned], date="2013-02-08") is None
    assert refusal([warned, held], date="2013-02-08") == Held(
        "the run of 2013-02-08 is held, volume: 1 rows: 100% below the 1,000 of 8 Fridays, "
        "a drop of more than volume.max_drop 40%",
        slug="HOLD",
        remedy="look at it, then `batchscore release --config … --date 2013-02-08 --reason TEXT` or `discard` likewise",
        state="Nothing was published; the run is kept as it was scored.",
        gates=["volume"],
    )
    refused = refusal([held, failed], date="2013-02-08")
    assert refused is not None
    assert (refused.id, refused.exit_code) == ("E-GATE-FAIL", 15)


@pytest.mark.parametrize(
    ("section", "content", "fact"),
    [
        (VolumeOptions, {"max_drop": 1.5}, "'max_drop' should be less than or equal to 1"),
        (VolumeOptions, {"max_rise": -1}, "'max_rise' should be greater than or equal to 0"),
        (VolumeOptions, {"max_drop": float("nan")}, "'max_drop'"),
        (VolumeOptions, {"min_rows": 5, "max_rows": 4}, "min_rows 5 above max_rows 4"),
        (VolumeOptions, {"ignore_dates": ["2013-02-30"]}, "is no ISO date such as 2013-02-08"),
        (VolumeOptions, {"ignore_dates": ["20130208"]}, "is no ISO date such as 2013-02-08"),
        (VolumeOptions, {"on_breach": "stop"}, "'on_breach' should be 'warn', 'hold' or 'fail'"),
        (VolumeOptions, {"max_drops": 0.4}, "unknown key 'max_drops'; did you mean 'max_drop'?"),
        (FlaggedOptions, {"min_share": 0.5, "max_share": 0.4}, "min_share 0.5 above max_share 0.4"),
        (RejectedOptions, {"max_share": "1%"}, "'max_share'"),
        (DriftOptions, {"reference": {"path": "r.json"}}, "the key 'reference.sha256' is missing"),
        (DriftOptions, {"reference": {"path": "r.json", "sha256": "abc"}}, "'reference.sha256'"),
        (DriftOptions, {"max_feature_psi": 0}, "'max_feature_psi' should be greater than 0"),
    ],
)
def test_wrong_options_are_named(section: type[Section], content: dict[str, Any], fact: str) -> None:
    """A wrong option is code 10, with the key's path."""
    with pytest.raises(ConfigError) as caught:
        parse_section(section, content, source="config.yaml")

    assert fact in caught.value.message
