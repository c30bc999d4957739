"""The tree of errors: one table, one id for one cause, and errors that cross processes whole."""

import ast
import pickle
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchscore.cluster.reasons import REMEDIES
from batchscore.errors import EXIT_CODES, BatchscoreError, error_classes

SOURCE = Path(__file__).parents[2] / "src" / "batchscore"
FAMILIES = {cls.__name__: cls.family for cls in (BatchscoreError, *error_classes())}
ONE_CAUSE = {
    "E-CONFIG-DASKCLUSTER": "the operator's schema refuses, here or at the API server",
    "E-CONTRACT-DUPLICATE-ID": "found within a partition or across them",
    "E-MODEL-LIBRARY-MISSING": "of any format",
    "E-MODEL-PREDICT": "an estimator says why, a graph does not",
    "E-MODEL-SHAPE": "an estimator has methods, a graph has outputs",
    "E-MODEL-WRONG-OUTPUT": "an estimator has a kind, a graph has outputs",
    "E-USAGE-DATE": "the command line names its option, `read_published` has none",
}
"""Ids that several modules raise in words of their own, and why that is one cause all the same."""


def sentence(node: ast.expr | None) -> str:
    """Return a message with its holes empty."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
    return "" if node is None else ast.unparse(node)


def raisers(tree: ast.Module) -> Iterator[tuple[str, str, list[str], str]]:
    """Yield (function, error class, its parameters, the one that is the slug) of helpers that make errors."""
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        parameters = [argument.arg for argument in (*function.args.args, *function.args.kwonlyargs)]
        for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
            given = {keyword.arg: keyword.value for keyword in call.keywords}
            slug = given.get("slug")
            if isinstance(slug, ast.Name) and slug.id in parameters and ast.unparse(call.func) in FAMILIES:
                yield function.name, ast.unparse(call.func), parameters, slug.id


def raised(source: str) -> Iterator[tuple[str, str]]:
    """Yield (id, sentence) of every error that a module's source makes with a slug that stands there."""
    tree = ast.parse(source)
    helpers = {name: (cls, parameters, slug) for name, cls, parameters, slug in raisers(tree)}
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = ast.unparse(call.func)
        given = {str(keyword.arg): keyword.value for keyword in call.keywords}
        cls, parameters, key = helpers.get(name, (name, ["message"], "slug"))
        given = dict(zip(parameters, call.args, strict=False)) | given
        slug = given.pop(key, None)
        if cls in FAMILIES and isinstance(slug, ast.Constant):
            said = [sentence(given[each]) for each in parameters if each in given]
            yield f"E-{FAMILIES[cls]}-{slug.value}", " ".join(said)


def shared(sources: dict[str, str]) -> list[str]:
    """Return the ids that two modules raise with different sentences."""
    found: defaultdict[str, dict[str, set[str]]] = defaultdict(dict)
    for module, source in sources.items():
        for error, said in raised(source):
            found[error].setdefault(module, set()).add(said)
    return sorted(
        error
        for error, modules in found.items()
        if len(modules) > 1 and len({frozenset(said) for said in modules.values()}) > 1
    )


def test_an_id_means_one_thing():
    """No two modules raise the same id for different causes; what is the same cause in other words is listed, with why."""
    sources = {str(path): path.read_text(encoding="utf-8") for path in sorted(SOURCE.rglob("*.py"))}

    assert shared(sources) == sorted(ONE_CAUSE)


def test_the_scan_sees_a_clash():
    """Of two modules that raise one id in two ways, directly and by a helper; and none where the words are the same."""
    one = "def f(): raise ModelError(f'no {x}', slug='GONE')"
    same = "def f(): raise ModelError(f'no {y}', slug='GONE')"
    other = "def g(fact, slug): return ModelError(fact, slug=slug)\ndef h(): raise g('is away', 'GONE')"

    assert shared({"a": one, "b": other}) == ["E-MODEL-GONE"]
    assert shared({"a": one, "b": same}) == []


@pytest.mark.parametrize("cls", [BatchscoreError, *error_classes()])
def test_every_error_crosses_processes(cls):
    """By plain pickle, with sentence, slug, remedy and context."""
    error = cls("the file 'a' is gone", slug="GONE", remedy="look", path="a", rows=[1, 2])
    error.context["partition"] = 3
    back = pickle.loads(pickle.dumps(error))

    assert (type(back), back.message, back.id, back.remedy, back.context) == (
        cls,
        "the file 'a' is gone",
        f"E-{cls.family}-GONE",
        "look",
        {"path": "a", "rows": [1, 2], "partition": 3},
    )


def test_every_class_has_a_row_of_its_own():
    """A class is a code, a code is a class: all but those that no error has (done), and the one of bugs."""
    codes = [cls.exit_code for cls in error_classes()]
    families = [cls.family for cls in error_classes()]

    assert sorted({*codes, 0, 1}) == [row.code for row in EXIT_CODES]
    assert len({*codes}) == len(codes)
    assert len({*families}) == len(families)


def test_what_a_code_says_of_retrying():
    """10–19 and usage never, 20–29 and signals always: schedulers rest on it."""
    retriable = {row.code for row in EXIT_CODES if row.retriable}

    assert retriable == {1, *(row.code for row in EXIT_CODES if row.code >= 20)}


def test_the_failures_on_kubernetes_are_those_of_the_page():
    """The table of docs/kubernetes.md lists exactly the errors with which a launched cluster can end a run."""
    page = (SOURCE.parents[1] / "docs" / "kubernetes.md").read_text(encoding="utf-8")
    modules = ("api", "creation", "job", "kubernetes", "launched", "removal", "tasks")
    sources = [(SOURCE / "cluster" / f"{name}.py").read_text(encoding="utf-8") for name in modules]
    found = {error for source in sources for error, _ in raised(source) if error.startswith("E-CLUSTER-")}
    chosen = {"E-CLUSTER-NO-CRD", "E-CLUSTER-REFUSED"}  # by what the API server says, where they are raised

    assert set(re.findall("`(E-CLUSTER-[A-Z-]+)`", page)) == found | chosen | {f"E-CLUSTER-{slug}" for slug in REMEDIES}
