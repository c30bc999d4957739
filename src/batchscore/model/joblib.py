"""Models that joblib or pickle wrote: scikit-learn's estimators and all that share their interface.

Reading such a file runs what is written in it; that is why `model` hands over bytes only after their digest matched.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from batchscore.model.estimator import EstimatorModel, as_model
from batchscore.model.loading import load_guarded
from batchscore.model.native import PreparedModel, natively

if TYPE_CHECKING:
    from batchscore.model.options import ModelOptions
    from batchscore.schema import FeatureSchema


def load_model(
    options: ModelOptions, schema: FeatureSchema, content: bytes, *, own: bool = False
) -> EstimatorModel | PreparedModel:
    """Load the estimator from bytes whose digest was checked, and check it against the options and the schema.

    Args:
        options: The model's section of the configuration.
        schema: The feature schema.
        content: The bytes.
        own: Whether the estimator's own code does everything, though something faster gives the same bits.

    Raises:
        ModelError: When the file can not be loaded, or what is in it does not fit.
    """
    import joblib

    model = as_model(load_guarded(options.path, lambda: joblib.load(io.BytesIO(content))), options, schema)
    return model if own else natively(model)
