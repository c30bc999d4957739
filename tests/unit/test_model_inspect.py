import io
import json
import os
import pickle
import struct
import sys
import zipfile
import zlib

import joblib
import numpy as np
import pytest
import sklearn
import skops.io
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lightgbm import LGBMClassifier
from made_models import MIXED_KINDS, dumped, fitted
from skl2onnx import to_onnx

from batchscore.errors import ModelError
from batchscore.model.inspect import inspect
from batchscore.model.pickles import archive, unfold
from batchscore.model.trust import needs_review


def compressed(thing, compress):
    """Return joblib's file, compressed."""
    sink = io.BytesIO()
    joblib.dump(thing, sink, compress=compress)
    return sink.getvalue()


def skops_bytes(thing):
    """Return skops' file."""
    import skops.io

    return skops.io.dumps(thing)


@pytest.mark.parametrize("kind", MIXED_KINDS)
def test_every_format_says_the_same(kind):
    """Names, classes, versions and the tree out of joblib in all compressions, pickle in all protocols, and skops."""
    estimator, schema, _ = fitted(kind)
    files = {"m_v1.2.0.joblib": dumped(estimator)}
    files |= {f"{name}.joblib": compressed(estimator, (name, 1)) for name in ("zlib", "gzip", "bz2", "lzma", "xz")}
    files |= {f"p{protocol}.pkl": pickle.dumps(estimator, protocol=protocol) for protocol in range(6)}
    files |= {"m.skops": skops_bytes(estimator)}
    seen = {path: inspect(path, content) for path, content in files.items()}
    first = seen["m_v1.2.0.joblib"]

    for path, found in seen.items():
        assert (found.features, found.classes, found.estimator) == (schema.names, first.classes, first.estimator), path
        assert found.libraries["scikit-learn"] == sklearn.__version__
        assert found.n_features == len(schema.names)
        assert found.notes == ()
        if not path.endswith(".skops"):
            assert found.review == (), path
    assert first.classes == tuple(estimator.classes_.tolist())
    assert first.estimator.startswith(type(estimator).__name__ + "(")
    assert seen["xz.joblib"].compression == "xz"


def test_the_lines_that_pin_a_model():
    """Ready to paste; skops' list of types included."""
    estimator = fitted("forest")[0]
    pinned = inspect("models/flights_v1.2.0.joblib", dumped(estimator))
    listed = inspect("models/flights_v1.2.0.skops", skops_bytes(estimator))

    assert pinned.yaml == (
        f'model:\n  path: "models/flights_v1.2.0.joblib"\n  version: "1.2.0"\n  sha256: {pinned.sha256}\n'
    )
    assert listed.yaml.endswith("  trusted:\n    - numpy.dtype\n    - sklearn.tree._tree.Tree\n")
    assert pinned.record()["features"] == list(pinned.features)


def test_a_graph_is_inspected():
    """Producer, opsets, width and classes of an ONNX file."""
    estimator = fitted("logistic, numbers")[0]
    graph = to_onnx(estimator, np.zeros((1, 7), np.float32), options={"zipmap": False}).SerializeToString()
    found = inspect("m.onnx", graph)

    assert (found.format, found.n_features, found.features, found.classes) == ("onnx", 7, None, (0, 1))
    assert found.libraries["producer"].startswith("skl2onnx")
    assert "LinearClassifier" in found.types


def test_a_classifier_that_keeps_its_classes_elsewhere():
    """LightGBM's names no classes where scikit-learn's do; its name tells that it has some."""
    estimator = LGBMClassifier(n_estimators=2, verbose=-1).fit(np.arange(60.0).reshape(30, 2), np.arange(30) % 2)
    found = inspect("m.joblib", dumped(estimator))

    assert (found.classes, found.estimator) == (None, "LGBMClassifier")
    assert "output" not in found.yaml


def test_a_regressor_has_no_classes():
    """And so another output."""
    found = inspect("m.joblib", dumped(fitted("regression")[0]))

    assert found.classes is None
    assert "output: value" in found.yaml


# --- hostile files ---------------------------------------------------------------------------------------------------


@pytest.fixture
def song(tmp_path):
    """Name a file that a canary would write."""
    return tmp_path / "song"


class Canary:
    """Runs a command when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("protocol", range(6))
def test_a_canary_stays_silent_and_is_shown(song, protocol):
    """In every protocol; the twin shows that the file would have run."""
    content = pickle.dumps(["model", Canary(song)], protocol=protocol)
    found = inspect("m.pkl", content)

    assert not song.exists()
    assert found.review == ("posix.system",)
    pickle.loads(content)
    assert song.exists()


@pytest.mark.parametrize("reach", ["sklearn.utils._joblib subprocess.Popen", "sklearn.base inspect.os.Popen"])
def test_a_name_that_reaches_through_a_usual_library_needs_a_look(reach):
    """A pickle may name what a module imported; that it ends in a capital makes it no class of that library."""
    module, name = reach.split()
    content = b"\x80\x04\x8c" + bytes([len(module)]) + module.encode() + b"\x8c" + bytes([len(name)]) + name.encode()
    found = inspect("m.pkl", content + b"\x93)R.")

    assert found.review == (f"{module}.{name}",)


@pytest.mark.parametrize(
    ("thing", "said"),
    [
        ({"a": 1}, "a dictionary"),
        ([1], "a list"),
        ((1, 2), "a tuple"),
        ("x", "a text"),
        (None, "null"),
        (np.arange(3), "an array"),
    ],
)
def test_what_is_no_estimator_is_called_so(thing, said):
    """A file of something else is read, and nobody takes it for a model."""
    found = inspect("m.joblib", compressed(thing, 0))

    assert found.estimator == f"none, but {said}"
    assert found.notes == (f"the file holds {said} and no estimator: no run takes it",)


@pytest.mark.parametrize(("before", "after"), [(b"payload", b""), (b"", b"payload")])
def test_bytes_around_an_archive_are_an_error(before, after):
    """A reader of archives skips them, so something else might read them."""
    content = skops.io.dumps(fitted("logistic, numbers")[0])
    assert inspect("m.skops", content).review is not None
    with pytest.raises(ModelError, match="7 bytes stand before or after") as caught:
        inspect("m.skops", before + content + after)

    assert caught.value.id == "E-MODEL-TRAILING-BYTES"


@pytest.mark.parametrize("path", ["m.joblib", "m.pkl"])
@pytest.mark.parametrize("content", [b"", pickle.dumps([1, 2])[:-1], b"\x00" * 9])
def test_what_is_no_pickle_is_said_in_words(path, content):
    """Never the bare name of an exception of Python."""
    with pytest.raises(ModelError) as caught:
        inspect(path, content)

    assert caught.value.message.endswith((": it ends too early", ": it is no pickle, or is damaged"))


def zipped(members):
    """Return an archive of these members, compressed."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return sink.getvalue()


ARRAY = {
    "__class__": "ndarray",
    "__module__": "numpy",
    "__loader__": "NdArrayNode",
    "type": "numpy",
    "file": "0.npy",
    "__id__": 1,
}


def test_a_zip_bomb_is_defused(monkeypatch):
    """An archive that declares too much is not unfolded; a huge array is told by its shape and never read."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (1 << 40,)})
    schema = json.dumps({**ARRAY, "_skops_version": "0.16", "protocol": 2}).encode()
    bomb = zipped({"schema.json": schema, "0.npy": header.getvalue() + bytes(1 << 24)})
    found = inspect("m.skops", bomb)
    monkeypatch.setattr(archive, "MAX_BYTES", 1 << 20)

    assert len(bomb) < 1 << 20
    assert found.types == ("numpy.ndarray",)
    with pytest.raises(ModelError, match="unfolds to 16"):
        inspect("m.skops", bomb)
    monkeypatch.undo()
    monkeypatch.setattr(archive, "SCHEMA_BYTES", 1 << 10)
    with pytest.raises(ModelError, match=r"its schema\.json"):
        inspect("m.skops", zipped({"schema.json": b" " * (1 << 11)}))


def test_a_file_that_skops_refuses_is_told_all_the_same():
    """A node that no loader knows: every type stands under review, and the note says that skops will not load it."""
    evil = {"__class__": "system", "__module__": "os", "__loader__": "EvilNode", "__id__": 1}
    found = inspect("m.skops", zipped({"schema.json": json.dumps({**evil, "_skops_version": "0.16", "protocol": 2})}))

    assert found.review == ("os.system",)
    assert found.notes[0].startswith("skops refuses the file: ")


@pytest.mark.parametrize("compress", [0, ("zlib", 1)])
def test_a_canary_behind_an_array_is_shown(song, compress):
    """What comes after joblib's first raw array is read too, where pickletools stops."""
    arrays = [np.arange(1000.0), np.array(["a", "b"], dtype=object), np.zeros((3, 2), dtype="<U5")]
    content = compressed({"a": arrays, "b": Canary(song), "c": np.arange(7)}, compress)

    assert inspect("m.joblib", content).review == ("posix.system",)
    assert not song.exists()
    joblib.load(io.BytesIO(content))
    assert song.exists()


def test_a_canary_inside_an_object_array_is_shown(song):
    """Joblib keeps such an array as a pickle within the pickle."""
    content = dumped({"a": np.array([Canary(song), 1], dtype=object), "b": np.arange(3)})

    assert "posix.system" in inspect("m.joblib", content).review
    assert not song.exists()


@pytest.mark.parametrize(
    ("content", "review"),
    [
        (b"cos\nsystem\n(S'true'\ntR.", ("os.system",)),
        (b"(S'true'\nios\nsystem\n.", ("os.system",)),
        (b"(cos\nsystem\nS'true'\no.", ("os.system",)),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.", ("os.system",)),
        (b"\x80\x02cos\nsystem\n\x8c\x04true\x85\x81.", ("os.system",)),
        (b"\x80\x04cos\nsystem\n\x8c\x04true\x85}\x92.", ("os.system",)),
        (b"cbuiltins\ngetattr\n(cos\nsystem\nS'__call__'\ntR(S'true'\ntR.", ("builtins.getattr", "os.system")),
        (b"\x82\x01.", ("copyreg.extension_1",)),
        (b"Psomething\n.", ()),
        (b"\x80\x05\x97\x98.", ()),
        (b"}S'__setstate__'\ncos\nsystem\ns}b.", ("os.system",)),
        (b"S'text'\nS'state'\nb.", ()),
        (b"S'text'\n)R.", ()),
        (b"I1\nI2\na.", ()),
        (b"cevil\x1b[2J\nname\n.", ("evil�[2J.name",)),
        (b"(lp0\ng0\na.", ()),
    ],
)
def test_hostile_pickles_are_read_and_never_run(content, review, monkeypatch):
    """Every way of a pickle to name or call something, and every way to be odd."""
    monkeypatch.setattr(os, "system", lambda *_: pytest.fail("ran"))

    assert inspect("m.pkl", content).review == review


def test_a_hash_that_takes_for_ever_is_not_asked_for():
    """Sixty nested pairs of themselves as a key of a dictionary: hashing that takes longer than the universe."""
    nest = b"N\x85\x94" + b"".join(b"h" + bytes([at]) + b"h" + bytes([at]) + b"\x86\x94" for at in range(60))
    for ending in (b"0}h\x3cN\x73.", b"0\x8f(h\x3c\x90.", b"0(h\x3c\x91."):
        assert inspect("m.pkl", b"\x80\x04" + nest + ending).review == ()


def test_an_estimator_that_contains_itself_is_cut_short():
    """A ring of steps with a hundred branches each ends."""
    steps = b"(" + b"(S'a'\ng0\nt" * 100 + b"l"
    content = (
        b"ccopyreg\n_reconstructor\n(csklearn.pipeline\nPipeline\nc__builtin__\nobject\nNtRp0\n(dS'steps'\n"
        + steps
        + b"sb."
    )
    found = inspect("m.pkl", content)

    assert found.estimator.startswith("Pipeline(Pipeline(Pipeline(")
    assert len(found.estimator) < 10_000


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x05\x96" + struct.pack("<Q", 1 << 60) + b"x.",
        b"\x8e" + struct.pack("<Q", 1 << 62) + b"x.",
        b"\x8b" + struct.pack("<i", -5) + b".",
        b"\x80\x04\x95" + struct.pack("<Q", 1 << 63) + b"N.",
        b"\x80\x09N.",
        b"I" + b"9" * 100_000 + b"\n.",
        b"(" * 1000 + b".",
        b"0.",
        b"h\x05.",
        b".",
        b"",
        b"\xff" * 100,
    ],
)
def test_what_can_not_be_read_is_one_error(content):
    """Lengths that are lies, stacks that are empty, numbers without end."""
    with pytest.raises(ModelError, match="can not be read to its end") as caught:
        inspect("m.pkl", content)

    assert caught.value.exit_code == 11


def wrapper(**state):
    """Return a forged array of joblib's, without its bytes."""
    forged = joblib.numpy_pickle.NumpyArrayWrapper.__new__(joblib.numpy_pickle.NumpyArrayWrapper)
    forged.__dict__.update(
        {"subclass": np.ndarray, "shape": (2,), "order": "C", "dtype": np.dtype("f8"), "allow_mmap": True} | state
    )
    return pickle.dumps(forged)


@pytest.mark.parametrize(
    "state",
    [{}, {"shape": (1 << 40, 1 << 40)}, {"shape": (-1,)}, {"shape": "all"}, {"dtype": "f8"}, {"dtype": np.dtype("O")}],
)
def test_forged_arrays_are_one_error(state):
    """Shapes that are lies reserve nothing."""
    with pytest.raises(ModelError) as caught:
        inspect("m.joblib", wrapper(**state))

    assert caught.value.slug == "INSPECT"


@pytest.mark.parametrize("compress", [0, ("zlib", 1), ("gzip", 1), ("bz2", 1), ("xz", 1)])
def test_trailing_bytes_are_an_error(compress):
    """No loader reads them, so something else might."""
    content = compressed([np.arange(5)], compress) + b"payload"
    with pytest.raises(ModelError, match="7 bytes follow after its") as caught:
        inspect("m.joblib", content)

    assert caught.value.id == "E-MODEL-TRAILING-BYTES"


def test_a_bomb_is_defused(monkeypatch):
    """A compressed file that unfolds for ever stops at a bound."""
    monkeypatch.setattr(unfold, "MAX_BYTES", 8 << 20)
    bomb = zlib.compress(b"\0" * (80 << 20))
    with pytest.raises(ModelError, match="unfolds to more than"):
        inspect("m.joblib", bomb)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("compress", [0, ("zlib", 1), ("bz2", 1), ("xz", 1)])
def test_a_cut_file_is_one_error(compress, share):
    """In every compression."""
    content = compressed(fitted("forest, numbers")[0], compress)
    with pytest.raises(ModelError, match="can not be read to its end"):
        inspect("m.joblib", content[: int(len(content) * share)])


@pytest.mark.parametrize("path", ["m.skops", "m.onnx"])
@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x03\x04", b"\x08\x0a\x12"])
def test_junk_in_other_formats_is_one_error(path, content):
    """Never a traceback."""
    with pytest.raises(ModelError):
        inspect(path, content)


BASE = dumped(fitted("logistic, numbers")[0])


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.integers(0, len(BASE) - 1), st.integers(0, 255)), min_size=1, max_size=5))
def test_broken_files_are_read_or_refused(changes):
    """Any bytes changed: an inspection or one error, and no module is imported."""
    content = bytearray(BASE)
    for at, value in changes:
        content[at] = value
    before = set(sys.modules)
    try:
        found = inspect("m.joblib", bytes(content))
    except ModelError:
        found = None

    assert found is None or found.size == len(BASE)
    assert set(sys.modules) - before <= {"encodings.latin_1", "encodings.raw_unicode_escape"}


@pytest.mark.parametrize(
    ("name", "review"),
    [
        ("sklearn.ensemble._forest.RandomForestClassifier", False),
        ("sklearn._loss._loss.__pyx_unpickle_CyHalfBinomialLoss", False),
        ("numpy.float64", False),
        ("numpy.load", True),
        ("numpy.testing._private.utils.runstring", True),
        ("builtins.eval", True),
        ("builtins.getattr", True),
        ("posix.system", True),
        ("sklearnx.Evil", True),
        ("sklearn.utils._testing.Popen", True),
        ("joblib.externals.loky.backend.popen_loky_posix.Popen", True),
        ("my_company.features.Encoder", True),
    ],
)
def test_what_needs_a_look(name, review):
    """A tripwire, not the gate."""
    assert needs_review(name) is review
