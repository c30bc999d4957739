"""Models that joblib or pickle wrote: scikit-learn's estimators and all that share their interface.

Reading such a file runs what is written in it; that is why `model` hands over bytes only after their digest matched.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

from batchscore.model.estimator import EstimatorModel, as_model
from batchscore.model.loading import load_guarded, other_version
from batchscore.model.native import PreparedModel, natively
from batchscore.model.pickles.placeholders import Damaged
from batchscore.model.pickles.unfold import decompressed

if TYPE_CHECKING:
    from batchscore.model.options import ModelOptions
    from batchscore.schema import FeatureSchema

_SAVED_BY = re.compile(rb"_sklearn_version(?:\x94|q.|r.{4})?(?:\x8c.|X.{4})(\d+\.\d+[\w.+]*)(?=[\x94qrusb])", re.DOTALL)
"""A scikit-learn version in a pickle: the key and its value as texts, each followed by a mark to memoize it."""


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

    _refuse_other_version(options.path, content)
    model = as_model(load_guarded(options.path, lambda: joblib.load(io.BytesIO(content))), options, schema)
    return model if own else natively(model)


def _refuse_other_version(path: str, content: bytes) -> None:
    """Refuse a file of another scikit-learn before any of it runs: the version stands in it as plain text.

    Raises:
        ModelError: When it says so.
    """
    import sklearn

    try:
        found = _SAVED_BY.search(decompressed(content)[1])
    except Damaged:
        return  # loading it says what is wrong
    if found is not None and found[1].decode() != sklearn.__version__:
        raise other_version(path, found[1].decode(), sklearn.__version__)
