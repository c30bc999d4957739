"""`batchscore model inspect`: what a model file says of itself, without running code of a pickle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from batchscore.errors import ModelError
from batchscore.model.pickles.archive import read_skops
from batchscore.model.pickles.inert import Contents, read_pickle
from batchscore.model.pickles.placeholders import Array, Damaged, Made, Pairs, array_values
from batchscore.model.pickles.unfold import decompressed
from batchscore.model.trust import needs_review

_DEPTH = 40
_NODES = 400
"""A tree of more estimators than this is cut short; a hostile one may contain itself."""
_TEXT = 4_000
"""Longer texts are cut."""


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What a model file says of itself."""

    path: str
    """The file's path."""
    format: str
    """joblib, skops or onnx."""
    sha256: str
    """sha256 of the file's bytes."""
    size: int
    """Bytes of the file."""
    compression: str | None
    """How the file is compressed."""
    libraries: Mapping[str, str]
    """Library versions that the file names."""
    estimator: str
    """The estimator's tree, as one line."""
    features: tuple[str, ...] | None
    """The features' names in the model's order; None when the file has none."""
    n_features: int | None
    """How many features the model takes; None when the file does not say."""
    classes: tuple[Any, ...] | None
    """The labels of the classes; None when the file names none, as of a regressor."""
    types: tuple[str, ...]
    """Every class and function that loading would import, sorted."""
    review: tuple[str, ...]
    """Those of them that are no classes of the usual libraries: what would need trust."""
    notes: tuple[str, ...] = field(default=())
    """What is unusual about the file."""

    @property
    def yaml(self) -> str:
        """The lines that pin the file in a configuration."""
        stem = PurePosixPath(self.path).stem
        version = stem.rsplit("_v", 1)[-1] if "_v" in stem else "…"
        lines = ["model:", f"  path: {json.dumps(self.path, ensure_ascii=False)}", f'  version: "{version}"']
        lines += [f"  sha256: {self.sha256}"]
        lines += [] if self._is_classifier else ["  output: value"]
        if self.format == "skops" and self.review:
            lines += ["  trusted:", *(f"    - {name}" for name in self.review)]
        return "\n".join(lines) + "\n"

    @property
    def _is_classifier(self) -> bool:
        """Whether the file names classes, or its last step says by its name that it knows some, as LightGBM's does."""
        return self.classes is not None or self.estimator.rstrip(")").endswith("Classifier")

    def record(self) -> dict[str, Any]:
        """Return the inspection as plain data."""
        names = ("path", "format", "sha256", "size", "compression", "estimator", "n_features")
        lists = ("features", "classes", "types", "review", "notes")
        listed = {name: None if (value := getattr(self, name)) is None else list(value) for name in lists}
        return {**{name: getattr(self, name) for name in names}, "libraries": dict(self.libraries), **listed}


def inspect(path: str, content: bytes) -> Inspection:
    """Read a model file without running any of it.

    Args:
        path: The file's path, for the record; its suffix names the format.
        content: The file's bytes, from anybody.

    Raises:
        ModelError: When the file can not be read to its end, or bytes follow that no loader reads.
    """
    from batchscore.model import model_format

    kind = model_format(path)
    readers = {"joblib": _of_joblib, "skops": _of_skops, "onnx": _of_onnx}
    try:
        facts = readers[kind](path, content)
    except ModelError:
        raise
    except Exception as error:
        raise _unreadable(path, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}") from error
    return Inspection(
        path=path, format=kind, sha256=hashlib.sha256(content).hexdigest(), size=len(content), **_clean(facts)
    )


def _unreadable(path: str, fact: str, slug: str = "INSPECT") -> ModelError:
    return ModelError(
        f"the file '{path}' can not be read to its end: {fact}",
        slug=slug,
        remedy="nothing of the file was run; compare it with its release",
        path=path,
    )


def _of_joblib(path: str, content: bytes) -> dict[str, Any]:
    try:
        compression, plain = decompressed(content)
        found = read_pickle(plain)
    except Damaged as error:
        raise _unreadable(path, str(error), "TRAILING-BYTES" if error.trailing else "INSPECT") from error
    return {"compression": compression, **_facts(found)}


def _of_skops(path: str, content: bytes) -> dict[str, Any]:
    try:
        found, version = read_skops(content)
    except Damaged as error:
        raise _unreadable(path, str(error), "TRAILING-BYTES" if error.trailing else "INSPECT") from error
    facts = _facts(found)
    review, notes = _skops_review(path, content, facts["types"])
    return {
        "compression": None,
        **facts,
        "libraries": {**facts["libraries"], "skops": version},
        "review": review,
        "notes": (*facts["notes"], *notes),
    }


def _skops_review(path: str, content: bytes, types: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the types that need trust; all of them, and a note, when skops itself refuses to look at the file."""
    from batchscore.model.skops import untrusted_types

    try:
        return tuple(untrusted_types(path, content)), ()
    except ModelError as error:
        if error.slug == "LIBRARY-MISSING":
            raise
        return types, (f"skops refuses the file: {error.message.rpartition(': ')[2]}",)


def _of_onnx(path: str, content: bytes) -> dict[str, Any]:
    from batchscore.model.onnx import class_labels, graph_facts, parse

    graph = parse(path, content)
    if not graph.graph.node:
        raise _unreadable(path, "it holds no graph")
    about = graph_facts(graph)
    opsets = {f"opset {domain}": str(version) for domain, version in sorted(about["opsets"].items())}
    width = len(graph.graph.input)
    single = graph.graph.input[0].type.tensor_type.shape.dim if width == 1 else ()
    outside = sorted({store.name for store in graph.graph.initializer if store.external_data})
    return {
        "compression": None,
        "libraries": {"producer": about["producer"], **opsets},
        "estimator": about["estimator"],
        "features": tuple(given.name for given in graph.graph.input) if width > 1 else None,
        "n_features": single[-1].dim_value if width == 1 and single else width,
        "classes": class_labels(graph) or None,
        "types": tuple(sorted({node.op_type for node in graph.graph.node})),
        "review": tuple(sorted({node.domain for node in graph.graph.node} - {"", "ai.onnx", "ai.onnx.ml"})),
        "notes": tuple(f"keeps the array '{name}' in another file" for name in outside),
    }


def _facts(found: Contents) -> dict[str, Any]:
    names = _names(found.root)
    classes = _values(found.root, "classes_")
    counted = _attribute(found.root, "n_features_in_")
    versions = sorted({str(version) for version in _all(found.root, "_sklearn_version") if isinstance(version, str)})
    types = tuple(sorted(found.names))
    return {
        "libraries": {"scikit-learn": ", ".join(versions)} if versions else {},
        "estimator": _tree(found.root, []) if isinstance(found.root, Made) else f"none, but {_kind(found.root)}",
        "features": names,
        "n_features": len(names) if names is not None else counted if isinstance(counted, int) else None,
        "classes": None if classes is None else tuple(classes),
        "types": types,
        "review": tuple(name for name in types if needs_review(name) or name in found.reaching),
        "notes": tuple(sorted(found.notes | _no_estimator(found.root))),
    }


_KINDS = ((Pairs, "a dictionary"), (Array, "an array"), (list, "a list"), (tuple, "a tuple"), (str, "a text"))


def _kind(root: Any) -> str:
    """Return in words what a file holds that holds no estimator."""
    if root is None:
        return "null"
    return next((said for kind, said in _KINDS if isinstance(root, kind)), f"of type {type(root).__name__}")


def _no_estimator(root: Any) -> set[str]:
    return set() if isinstance(root, Made) else {f"the file holds {_kind(root)} and no estimator: no run takes it"}


def _attribute(thing: Any, name: str) -> Any:
    return thing.state.get(name) if isinstance(thing, Made) and isinstance(thing.state, Pairs) else None


def _values(thing: Any, name: str) -> list[Any] | None:
    for _ in range(_DEPTH):
        values = array_values(_attribute(thing, name))
        if values is not None:
            return [value if isinstance(value, int | float | bool) else str(value) for value in values]
        thing = _last_step(thing)
    return None


def _steps(thing: Any) -> list[Any]:
    for name in ("steps", "transformers_", "transformer_list", "transformers", "estimators"):
        listed = _attribute(thing, name)
        if isinstance(listed, list) and listed and all(isinstance(item, tuple) and len(item) > 1 for item in listed):
            return [item[1] for item in listed if not (isinstance(item[1], str) and item[1] == "drop")]
    inner = _attribute(thing, "estimator")
    return [inner] if isinstance(inner, Made) else []


def _last_step(thing: Any) -> Any:
    steps = _steps(thing) if _attribute(thing, "steps") is not None else []
    return steps[-1] if steps else None


def _names(thing: Any) -> tuple[str, ...] | None:
    for _ in range(_DEPTH):
        values = array_values(_attribute(thing, "feature_names_in_"))
        if values is not None:
            return tuple(str(value) for value in values)
        thing = next((step for step in _steps(thing) if isinstance(step, Made)), None)
    return None


def _tree(thing: Any, shown: list[None], depth: int = 0) -> str:
    """Return the tree below `thing`; `shown` grows by one for every estimator that is shown."""
    if not isinstance(thing, Made):
        return thing if isinstance(thing, str) else "passthrough" if thing is None else type(thing).__name__
    shown.append(None)
    parts = []
    for step in _steps(thing):
        if len(shown) > _NODES or depth > _DEPTH:
            parts.append("…")
            break
        parts.append(_tree(step, shown, depth + 1))
    return f"{thing.of.name}({', '.join(parts)})" if parts else thing.of.name


def _clean(thing: Any) -> Any:
    """Replace what a terminal would obey, and cut what is too long, in all texts inside plain data."""
    if isinstance(thing, str):
        shown = "".join(char if char.isprintable() else "�" for char in thing[:_TEXT])
        return shown if len(thing) <= _TEXT else shown + "…"
    if isinstance(thing, tuple):
        return tuple(_clean(part) for part in thing)
    if isinstance(thing, dict):
        return {_clean(key): _clean(part) for key, part in thing.items()}
    return thing


def _all(root: Any, name: str) -> Iterator[Any]:
    """Yield an attribute of every placeholder inside `root`, each visited once."""
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, Made):
            if (value := _attribute(thing, name)) is not None:
                yield value
            waiting += [*thing.args, thing.state, *thing.items]
        elif isinstance(thing, Array):
            waiting += thing.values or []
        elif isinstance(thing, list | tuple):
            waiting += thing
