"""Models that skops wrote: scikit-learn's estimators without a pickle, loaded by an explicit list of types."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchscore.errors import ModelError
from batchscore.model.estimator import EstimatorModel, as_model
from batchscore.model.loading import load_guarded
from batchscore.model.native import PreparedModel, natively

if TYPE_CHECKING:
    from batchscore.model.options import ModelOptions
    from batchscore.schema import FeatureSchema


def load_model(
    options: ModelOptions, schema: FeatureSchema, content: bytes, *, own: bool = False
) -> EstimatorModel | PreparedModel:
    """Load the estimator; only types that skops trusts or that `model.trusted` lists are ever imported.

    Args:
        options: The model's section of the configuration.
        schema: The feature schema.
        content: The bytes.
        own: Whether the estimator's own code does everything, though something faster gives the same bits.

    Raises:
        ModelError: When skops is not installed, the file asks for a type that nobody trusts, can not be loaded,
            or what is in it does not fit.
    """
    unknown = sorted(set(untrusted_types(options.path, content)) - set(options.trusted))
    if unknown:
        raise ModelError(
            f"the model '{options.path}' needs {len(unknown)} types that model.trusted does not list: {', '.join(unknown)}",
            slug="UNTRUSTED-TYPES",
            remedy="nothing was loaded; review each type, and list those that you trust in model.trusted",
            path=options.path,
            types=unknown,
        )

    def load() -> object:
        import skops.io

        return skops.io.loads(content, trusted=list(options.trusted))

    model = as_model(load_guarded(options.path, load), options, schema)
    return model if own else natively(model)


def untrusted_types(path: str, content: bytes) -> list[str]:
    """Return the types in the file that skops does not trust by itself, sorted; nothing of the file is run.

    Raises:
        ModelError: When skops is not installed, or the file is no skops file.
    """
    try:
        import skops.io
    except ModuleNotFoundError as error:
        raise ModelError(
            f"the model '{path}' needs the module 'skops', which is not installed",
            slug="LIBRARY-MISSING",
            remedy="install batchscore[skops]",
            path=path,
        ) from error
    found = load_guarded(path, lambda: skops.io.get_untrusted_types(data=content))
    return sorted(str(name) for name in found)  # type: ignore[attr-defined]
