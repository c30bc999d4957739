"""Loading foreign files: every way in which that fails is one error of code 11 in one sentence."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable

from batchscore.errors import ModelError

_CUT_OFF = (
    "truncated",
    "ran out of input",
    "eof",
    "end of file",
    "end-of-stream",
    "incomplete",
    "ended before",
    "exhausted",
)
"""What the messages of pickle, numpy and the compressors have in common when a file ends too early."""


def load_guarded(path: str, load: Callable[[], object]) -> object:
    """Call `load` and return what it loaded; warnings of libraries about their versions are errors.

    Args:
        path: The file's path, for the message.
        load: Loads from bytes whose digest was checked.

    Raises:
        ModelError: When it fails or warns; each cause has its own slug.
    """
    from sklearn.exceptions import InconsistentVersionWarning

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # scikit-learn only warns of another version; a nightly run must not score with a guess.
            warnings.simplefilter("error", UserWarning)
            return load()
    except InconsistentVersionWarning as error:
        raise other_version(path, error.original_sklearn_version, error.current_sklearn_version) from error
    except ModuleNotFoundError as error:
        raise ModelError(
            f"the model '{path}' needs the module '{error.name}', which is not installed",
            slug="LIBRARY-MISSING",
            remedy="install the library that the model was trained with, in the same version",
            path=path,
        ) from error
    except Exception as error:
        raise _load_error(path, error) from error


def other_version(path: str, saved: str, installed: str) -> ModelError:
    """Return the error of a model that another scikit-learn saved."""
    return ModelError(
        f"the model '{path}' was saved by scikit-learn {saved}, but {installed} is installed",
        slug="LIBRARY-VERSION",
        remedy="install the version that saved it, or train and release the model again",
        path=path,
    )


def _load_error(path: str, error: Exception) -> ModelError:
    fact = f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")
    text = str(error).lower()
    if isinstance(error, EOFError) or any(sign in text for sign in _CUT_OFF):
        return ModelError(
            f"the model '{path}' is truncated: it ends before the model does ({fact})",
            slug="TRUNCATED",
            remedy="copy the released file again and pin the digest that was released with it",
            path=path,
        )
    if isinstance(error, UserWarning):
        return ModelError(
            f"the model '{path}' loads only with a warning: {fact}",
            slug="LOAD-WARNING",
            remedy="train and release the model again with the installed libraries",
            path=path,
        )
    remedy = "check that it was saved by joblib or pickle with the installed libraries"
    if isinstance(error, pickle.UnpicklingError | KeyError | IndexError):
        remedy = "the file is damaged or no joblib file; check its release"
    return ModelError(f"the model '{path}' can not be loaded: {fact}", slug="LOAD", remedy=remedy, path=path)
