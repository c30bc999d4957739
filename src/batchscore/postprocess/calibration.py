"""Calibration: a monotone curve from raw scores to probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from batchscore.errors import ConfigError, ModelError
from batchscore.postprocess.options import CalibrationOptions
from batchscore.rules.tables import Read, read_table


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A calibration ready to use."""

    options: CalibrationOptions
    """Its form and numbers."""
    scores: np.ndarray | None = None
    """isotonic: the raw scores of the points, strictly ascending."""
    probabilities: np.ndarray | None = None
    """isotonic: their probabilities, ascending."""

    def __call__(self, raw: np.ndarray) -> np.ndarray:
        """Return the probabilities of raw scores of shape `(n_rows,)`, each in 0..1 and in the same order.

        Raises:
            ModelError: When a raw score lies outside what the curve takes, or a result is no number.
        """
        calibrated = self._interpolated(raw) if self.options.kind == "isotonic" else self._logistic(raw)
        if not np.isfinite(calibrated).all():
            raise ModelError(
                f"the calibration gives {int((~np.isfinite(calibrated)).sum())} of {len(raw)} rows no finite number",
                slug="CALIBRATION-NOT-FINITE",
                remedy="check the numbers of `calibration` against the range of the raw scores",
            )
        return calibrated

    def _interpolated(self, raw: np.ndarray) -> np.ndarray:
        assert self.scores is not None  # noqa: S101 - load_curve read them
        assert self.probabilities is not None  # noqa: S101
        return np.asarray(np.interp(raw, self.scores, self.probabilities))

    def _logistic(self, raw: np.ndarray) -> np.ndarray:
        from scipy.special import expit

        a, b, c = (number or 0.0 for number in (self.options.a, self.options.b, self.options.c))
        if self.options.kind == "sigmoid":
            return np.asarray(expit(a * raw + b), dtype=np.float64)
        if ((raw < 0) | (raw > 1)).any():
            raise ModelError(
                f"the beta calibration takes scores in 0..1, but {int(((raw < 0) | (raw > 1)).sum())} of {len(raw)} are not",
                slug="CALIBRATION-RANGE",
                remedy="calibrate a probability, or use kind sigmoid or isotonic",
            )
        # ln(0) is -inf, and -inf times a weight of 0 would be NaN; without its weight a term is not there.
        with np.errstate(divide="ignore"):
            low = a * np.log(raw) if a else 0.0
            high = b * np.log1p(-raw) if b else 0.0
        return np.asarray(expit(low - high + c), dtype=np.float64)


def load_curve(options: CalibrationOptions, *, read: Read) -> Curve:
    """Make the curve; the table of an isotonic one is read and checked.

    Raises:
        ConfigError: When the table is missing, another one, or no ascending curve of probabilities.
    """
    if options.kind != "isotonic" or options.path is None or options.sha256 is None:
        return Curve(options=options)
    table = read_table(options.path, options.sha256, ["score", "probability"], read=read, key="calibration")
    try:
        scores, probabilities = (np.asarray(column, dtype=np.float64) for column in table.columns)
    except ValueError as error:
        raise _misfit(options.path, "holds something else than numbers") from error
    if not np.isfinite(scores).all() or (np.diff(scores) <= 0).any():
        raise _misfit(options.path, "has scores that do not strictly ascend")
    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise _misfit(options.path, "has probabilities outside 0..1")
    if (np.diff(probabilities) < 0).any():
        raise _misfit(options.path, "has probabilities that descend")
    return Curve(options=options, scores=scores, probabilities=probabilities)


def _misfit(path: str, fact: str) -> ConfigError:
    return ConfigError(
        f"calibration: the table '{path}' {fact}",
        slug="CALIBRATION-TABLE",
        remedy="write one point per distinct score, from the fitted isotonic regression's thresholds",
        path=path,
    )
