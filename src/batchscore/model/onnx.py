"""Models in ONNX: a graph of numeric operations that runs no code of its own, on one thread of ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from batchscore import blocks
from batchscore.errors import ModelError
from batchscore.model.estimator import check_names, positive_index, refuse_count
from batchscore.model.loading import load_guarded

if TYPE_CHECKING:
    import pyarrow as pa

    from batchscore.model.options import ClassLabel, ModelOptions, Output
    from batchscore.schema import Feature, FeatureSchema

_NUMPY = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.object_,
}
_LABELS = ("classlabels_int64s", "classlabels_ints", "classlabels_strings")


@dataclass(frozen=True, kw_only=True)
class OnnxModel:
    """A graph, checked against the options and the feature schema; safe to call from several threads."""

    session: Any = field(repr=False)
    """The ONNX Runtime session, of one thread."""
    answer: str
    """The name of the graph's output that holds the scores."""
    inputs: Mapping[str, type]
    """The numpy type of each input of the graph, in its order: one matrix, or one per feature."""
    schema: FeatureSchema
    """The features, in the model's order."""
    output: Output
    """What the scores are."""
    takes: Literal["matrix", "frame"]
    """A matrix for a graph with one input, a frame for a graph with an input per feature."""
    classes: tuple[ClassLabel, ...]
    """The labels of the classes; empty for a regressor."""
    positive: int | None
    """The index of the class whose probability is the prediction."""
    facts: Mapping[str, Any]
    """Runtime version, opsets, producer, input types."""

    def predict(self, block: Any) -> np.ndarray:
        """Return the scores of a block as float64 of shape `(n_rows, n_scores)`.

        Raises:
            ModelError: When the runtime refuses the block, or the graph answers with another shape.
        """
        rows = len(block)
        try:
            answer = np.asarray(self.session.run([self.answer], self._feeds(block))[0])
        except Exception as error:
            raise ModelError(
                f"the model refuses {rows} rows: {type(error).__name__}",
                slug="PREDICT",
                remedy="compare the feature schema with the inputs that `batchscore model inspect` prints",
            ) from error
        width = len(self.classes) if self.output == "probability" else 1
        if answer.size != rows * width:
            raise ModelError(
                f"the model's output '{self.answer}' has the shape {answer.shape} for {rows} rows and {width} scores",
                slug="SHAPE",
                remedy="only models with one output per row are scored",
            )
        return self._select(answer.reshape(rows, width))

    def blocks(self, rows: pa.Table, block_rows: int) -> Iterator[Any]:
        """Yield what `predict` takes, of exactly `block_rows` rows each: the given ones, and the last one repeated."""
        return blocks.blocks(rows, block_rows, self.takes, self.schema.features)

    def plain(self, table: pa.Table) -> np.ndarray:
        """Return the scores of one call over the whole table."""
        from_frame = table.to_pandas()
        return self.predict(from_frame.to_numpy(dtype=np.float64) if self.takes == "matrix" else from_frame)

    def _feeds(self, block: Any) -> dict[str, np.ndarray]:
        if self.takes == "matrix":
            ((name, kind),) = self.inputs.items()
            return {name: np.ascontiguousarray(block, dtype=kind)}
        return {
            name: block[feature].to_numpy(dtype=kind).reshape(-1, 1)
            for (name, kind), feature in zip(self.inputs.items(), self.schema.names, strict=True)
        }

    def _select(self, answer: np.ndarray) -> np.ndarray:
        if self.output == "class":
            order = {label: index for index, label in enumerate(self.classes)}
            return np.array([[order[label]] for label in answer[:, 0].tolist()], dtype=np.float64).reshape(-1, 1)
        if self.output == "probability" and len(self.classes) == 2:  # noqa: PLR2004 - the other one is its complement
            answer = answer[:, self.positive].reshape(-1, 1)
        return np.ascontiguousarray(answer, dtype=np.float64)


def load_model(
    options: ModelOptions,
    schema: FeatureSchema,
    content: bytes,
    *,
    own: bool = False,  # noqa: ARG001 - a graph has one way to run
) -> OnnxModel:
    """Load the graph from bytes whose digest was checked, and check it against the options and the schema.

    Raises:
        ModelError: When ONNX Runtime is not installed, the graph can not be loaded, or does not fit.
    """
    graph = load_guarded(options.path, lambda: parse(options.path, content))
    session: Any = load_guarded(options.path, lambda: _session(content))
    inputs = {given.name: _numpy_type(given, options.path) for given in session.get_inputs()}
    takes = _check_inputs(session.get_inputs(), schema, options.path)
    classes = () if options.output == "value" else class_labels(graph)
    return OnnxModel(
        session=session,
        answer=_answer(session.get_outputs(), classes, options),
        inputs=inputs,
        schema=schema,
        output=options.output,
        takes=takes,
        classes=classes,
        positive=positive_index(classes, options),
        facts={**graph_facts(graph), "n_features": len(schema.features), "names_checked": takes == "frame"},
    )


def parse(path: str, content: bytes) -> Any:
    """Return the parsed graph; nothing of it is run.

    Raises:
        ModelError: When the libraries are not installed.
    """
    try:
        import onnx
        import onnxruntime  # noqa: F401 - both come with the extra
    except ModuleNotFoundError as error:
        raise ModelError(
            f"the model '{path}' needs the module '{error.name}', which is not installed",
            slug="LIBRARY-MISSING",
            remedy="install batchscore[onnx]",
            path=path,
        ) from error
    return onnx.load_model_from_string(content)


def class_labels(graph: Any) -> tuple[ClassLabel, ...]:
    """Return the labels of the classes that the graph's classifier declares; empty when it declares none."""
    for node in reversed(graph.graph.node):
        for attribute in node.attribute:
            if attribute.name in _LABELS and (attribute.ints or attribute.strings):
                return tuple(attribute.ints) or tuple(text.decode() for text in attribute.strings)
    for stored in graph.graph.initializer:
        if stored.name == "classes":
            import onnx.numpy_helper

            labels = onnx.numpy_helper.to_array(stored).ravel().tolist()
            return tuple(label.decode() if isinstance(label, bytes) else label for label in labels)
    return ()


def graph_facts(graph: Any) -> dict[str, Any]:
    """Return what the graph says of itself: producer, opsets, operations, types of its inputs."""
    import onnxruntime

    kinds = {given.name: _declared(given) for given in graph.graph.input}
    return {
        "estimator": " → ".join(node.op_type for node in graph.graph.node[:12]),
        "library": f"onnxruntime {onnxruntime.__version__}",
        "producer": f"{graph.producer_name} {graph.producer_version}".strip(),
        "opsets": {entry.domain or "ai.onnx": entry.version for entry in graph.opset_import},
        "inputs": kinds,
    }


def _declared(given: Any) -> str:
    import onnx

    kind = given.type.tensor_type
    sides = [side.dim_value if side.HasField("dim_value") else "n" for side in kind.shape.dim]
    return f"{onnx.TensorProto.DataType.Name(kind.elem_type).lower()}{sides}"


def _session(content: bytes) -> object:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _numpy_type(given: Any, path: str) -> type:
    if given.type not in _NUMPY:
        raise ModelError(
            f"the model '{path}' has an input '{given.name}' of {given.type}, which no feature has",
            slug="INPUT-TYPE",
            remedy=f"the types of inputs are {', '.join(_NUMPY)}",
            path=path,
        )
    return _NUMPY[given.type]


def _check_inputs(given: Any, schema: FeatureSchema, path: str) -> Literal["matrix", "frame"]:
    """Check names or number, and types; one input of several columns is a matrix, otherwise each is a feature."""
    if len(given) == 1 and given[0].name not in schema.names:
        width = given[0].shape[-1] if len(given[0].shape) > 1 else 1
        if isinstance(width, int):
            refuse_count(width, len(schema.features), path)
        for feature in schema.features:
            _check_type(given[0], feature, path)
        return "matrix"
    check_names([one.name for one in given], schema, path)
    for one, feature in zip(given, schema.features, strict=True):
        _check_type(one, feature, path)
    return "frame"


def _check_type(given: Any, feature: Feature, path: str) -> None:
    kind = _NUMPY[given.type]
    text = feature.dtype == "string"
    exact: Mapping[type, bool] = {np.object_: text, np.bool_: feature.dtype == "bool"}
    fits = exact.get(kind, feature.dtype not in ("string", "date32"))
    if issubclass(kind, np.integer):
        fits = feature.dtype.startswith(("int", "uint")) and not feature.nullable
    if not fits or feature.dtype == "timestamp[us]" or (feature.nullable and kind in (np.object_, np.bool_)):
        null = " that may be null" if feature.nullable else ""
        raise ModelError(
            f"the model '{path}' takes '{given.name}' as {given.type}, but the feature '{feature.name}' is"
            f" {feature.dtype}{null}",
            slug="INPUT-TYPE",
            remedy="convert the model with the types of the feature schema; ONNX has no null but NaN",
            path=path,
        )


def _answer(outputs: Any, classes: tuple[ClassLabel, ...], options: ModelOptions) -> str:
    floats = [one for one in outputs if one.type in ("tensor(float)", "tensor(double)")]
    labels = [one for one in outputs if one.type in ("tensor(int64)", "tensor(string)")]
    found = labels if options.output == "class" else floats
    wants_classes = options.output != "value"
    if len(found) != 1 or (wants_classes and len(classes) < 2):  # noqa: PLR2004 - a classifier chooses
        given = ", ".join(f"{one.name}: {one.type}" for one in outputs)
        what = "no classes" if wants_classes and found else f"{len(found)} outputs for model.output {options.output}"
        raise ModelError(
            f"the model '{options.path}' has {what} (its outputs are {given})",
            slug="WRONG-OUTPUT",
            remedy="convert a classifier with zipmap=False; regressors have the output value",
            path=options.path,
        )
    return str(found[0].name)
