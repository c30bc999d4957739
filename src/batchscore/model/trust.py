"""Which classes and functions of a pickle are the usual ones, and which somebody should look at.

A tripwire for the reader of an inspection, never the gate: the gate is the pinned digest.
"""

from __future__ import annotations

_LIBRARIES = ("joblib", "lightgbm", "numpy", "pandas", "scipy", "sklearn", "xgboost")
_USUAL = (
    "_codecs.encode",
    "builtins.bool",
    "builtins.bytearray",
    "builtins.bytes",
    "builtins.complex",
    "builtins.dict",
    "builtins.float",
    "builtins.frozenset",
    "builtins.int",
    "builtins.list",
    "builtins.object",
    "builtins.set",
    "builtins.slice",
    "builtins.str",
    "builtins.tuple",
    "collections.OrderedDict",
    "collections.defaultdict",
    "copyreg._reconstructor",
)
_NO_MODELS = frozenset({"_testing", "distutils", "externals", "f2py", "testing", "tests"})
"""Parts of those libraries where no estimator lives, and much that starts processes."""
_NUMPY_FUNCTIONS = ("_frombuffer", "_reconstruct", "scalar", "dtype", "ndarray")
_NUMPY_SCALARS = ("bool", "bool_", "float", "int", "uint", "str_", "object_", "datetime64", "timedelta64")


def needs_review(name: str) -> bool:
    """Whether a dotted name is no class of the usual libraries and no function that their pickles call.

    Examples:
        >>> [needs_review(name) for name in ("sklearn.pipeline.Pipeline", "os.system", "numpy.load", "numpy.dtype")]
        [False, True, True, False]
    """
    root, last = name.partition(".")[0], name.rpartition(".")[2]
    if name in _USUAL:
        return False
    if root not in _LIBRARIES or not _NO_MODELS.isdisjoint(name.split(".")):
        return True
    if root == "numpy" and (last in _NUMPY_FUNCTIONS or last.rstrip("0123456789") in _NUMPY_SCALARS):
        return False
    plain_class = last.lstrip("_")[:1].isupper() and "." not in last
    unpickler = last.startswith("__pyx_unpickle_") or last in (
        "__randomstate_ctor",
        "__generator_ctor",
        "__bit_generator_ctor",
    )
    return not (plain_class or unpickler)
