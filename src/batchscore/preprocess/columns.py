"""The contract of the columns, checked on footers alone: for every file, all violations, grouped. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from batchscore.errors import ContractError
from batchscore.plan import InputFile
from batchscore.schema import Feature, FeatureSchema, is_lossless

Passthrough = Sequence[str] | Literal["all"]

_ID_TYPES = ("string", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
_SHOWN = 5


class ColumnLike(Protocol):
    """A column of a file, by its declared type."""

    @property
    def name(self) -> str:
        """The column's name."""
        ...

    @property
    def dtype(self) -> str:
        """Its type in the words of the feature schema."""
        ...


class FooterLike(Protocol):
    """What a file declares, as `ingest` lists it."""

    @property
    def file(self) -> InputFile:
        """The file."""
        ...

    @property
    def columns(self) -> Sequence[ColumnLike]:
        """Its columns, in file order."""
        ...


@dataclass(frozen=True, kw_only=True)
class Violation:
    """One way in which files break the contract."""

    slug: str
    """The kind, such as `MISSING-COLUMN`."""
    column: str
    """The column's name."""
    fact: str
    """What is wrong, without the files."""
    hint: str = ""
    """A guess at what was meant; may be empty."""
    paths: tuple[str, ...]
    """The files in which it is so, in listing order."""
    total: int
    """Number of files in the snapshot."""

    def __str__(self) -> str:
        """Return one clause for a person."""
        first = self.paths[0].rsplit("/", 1)[-1]
        where = f"in {first}" if self.total == 1 else f"in {len(self.paths)} of {self.total} files (first: {first})"
        return f"{self.fact} {where}{self.hint}"


def check_columns(
    footers: Sequence[FooterLike],
    schema: FeatureSchema,
    *,
    id_column: str,
    passthrough: Passthrough = (),
    extra_columns: Literal["ignore", "fail"] = "ignore",
) -> tuple[Violation, ...]:
    """Compare every file's columns with the feature schema, the id and the columns that are passed through.

    Args:
        footers: The files, in listing order.
        schema: The feature schema.
        id_column: The column that names a row.
        passthrough: Columns that are carried along, or "all".
        extra_columns: Whether other columns are a violation.

    Returns:
        All violations of all files, the same one in several files once: first the features in the model's order,
        then the id, the columns passed through, and what is too much.
    """
    kinds, kind_of = _kinds(footers)
    carried = _carried(kinds, passthrough)
    wanted = {*schema.names, id_column, *carried}
    checks: list[Callable[[Mapping[str, str]], Iterator[_Found]]] = [
        *(_feature_check(feature, wanted) for feature in schema.features),
        _id_check(id_column, wanted),
        *(_carried_check(name, wanted) for name in carried),
    ]
    if extra_columns == "fail":
        checks.append(lambda types: _extras(types, wanted))
    grouped: dict[_Found, list[str]] = {}
    for check in [_duplicates, *(_by_type(check) for check in checks)]:
        results = [tuple(check(columns)) for columns in kinds]
        for footer, kind in zip(footers, kind_of, strict=True) if any(results) else ():
            for found in results[kind]:
                grouped.setdefault(found, []).append(footer.file.path)
    mixed = _mixed_types(footers, [id_column, *(name for name in carried if name != id_column)])
    return tuple(
        Violation(
            slug=found.slug,
            column=found.column,
            fact=found.fact,
            hint=found.hint,
            paths=tuple(paths),
            total=len(footers),
        )
        for found, paths in [*grouped.items(), *mixed]
    )


def extra_columns(
    footers: Sequence[FooterLike], schema: FeatureSchema, *, id_column: str, passthrough: Passthrough = ()
) -> tuple[str, ...]:
    """Return the names, sorted, of the columns that nobody asked for."""
    kinds, _ = _kinds(footers)
    wanted = {*schema.names, id_column, *_carried(kinds, passthrough)}
    return tuple(sorted({column.name for columns in kinds for column in columns} - wanted))


def raise_violations(violations: Sequence[Violation]) -> None:
    """Raise one error for all violations; return when there are none.

    Raises:
        ContractError: Its message has the first ones and their number, its context all of them.
    """
    if not violations:
        return
    shown = "; ".join(str(violation) for violation in violations[:_SHOWN])
    more = f"; and {len(violations) - _SHOWN} more" if len(violations) > _SHOWN else ""
    raise ContractError(
        f"{shown}{more}",
        slug=violations[0].slug,
        remedy="mend the snapshot at its source, or the feature schema if the contract is what is wrong",
        violations=[str(violation) for violation in violations],
        columns=[violation.column for violation in violations],
        files=sorted({path for violation in violations for path in violation.paths}),
    )


@dataclass(frozen=True, kw_only=True)
class _Found:
    slug: str
    column: str
    fact: str
    hint: str = ""


def _by_type(
    check: Callable[[Mapping[str, str]], Iterator[_Found]],
) -> Callable[[Sequence[ColumnLike]], Iterator[_Found]]:
    return lambda columns: check({column.name: column.dtype for column in columns})


def _carried(kinds: Sequence[Sequence[ColumnLike]], passthrough: Passthrough) -> tuple[str, ...]:
    if passthrough == "all":
        return tuple(dict.fromkeys(column.name for columns in kinds for column in columns))
    return tuple(passthrough)


def _kinds(footers: Sequence[FooterLike]) -> tuple[list[Sequence[ColumnLike]], list[int]]:
    """Return the kinds of files, by their columns, and which kind each file is.

    Files of one schema share their columns, so that 100,000 of them are of one kind, which is checked once.
    """
    kinds: list[Sequence[ColumnLike]] = []
    places: dict[int, int] = {}
    kind_of = []
    for footer in footers:
        columns = footer.columns
        if id(columns) not in places:
            places[id(columns)] = len(kinds)
            kinds.append(columns)  # which also keeps its id its own
        kind_of.append(places[id(columns)])
    return kinds, kind_of


def _duplicates(columns: Sequence[ColumnLike]) -> Iterator[_Found]:
    names = [column.name for column in columns]
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            fact = f"column '{name}' stands {_times(names.count(name))}"
            yield _Found(slug="DUPLICATE-COLUMN", column=name, fact=fact)


def _times(count: int) -> str:
    return "twice" if count == 2 else f"{count} times"  # noqa: PLR2004 - the English word


def _feature_check(feature: Feature, wanted: set[str]) -> Callable[[Mapping[str, str]], Iterator[_Found]]:
    allowed = (feature.dtype, *feature.allow, *(["null"] if feature.nullable else []))

    def check(types: Mapping[str, str]) -> Iterator[_Found]:
        found = types.get(feature.name)
        if found is None:
            yield _missing("MISSING-COLUMN", "column", feature.name, types, wanted)
        elif found not in allowed:
            expected = " or ".join((feature.dtype, *feature.allow))
            fact = f"column '{feature.name}' must be {expected} and is {found}"
            yield _Found(slug="COLUMN-TYPE", column=feature.name, fact=fact, hint=_type_hint(found, feature))

    return check


def _type_hint(found: str, feature: Feature) -> str:
    if found == "null":
        return "; it holds no value at all, and the feature is not nullable"
    if found == "float64" and "int" in feature.dtype:
        return "; whole numbers with missing values are often written as float64"
    if is_lossless(found, feature.dtype):
        return f"; every {found} fits, and `allow: [{found}]` in the feature schema takes it"
    return ""


def _id_check(id_column: str, wanted: set[str]) -> Callable[[Mapping[str, str]], Iterator[_Found]]:
    def check(types: Mapping[str, str]) -> Iterator[_Found]:
        found = types.get(id_column)
        if found is None:
            yield _missing("MISSING-ID", "the id column", id_column, types, wanted)
        elif found not in _ID_TYPES:
            fact = f"the id column '{id_column}' must be text or whole numbers and is {found}"
            yield _Found(slug="ID-TYPE", column=id_column, fact=fact)

    return check


def _carried_check(name: str, wanted: set[str]) -> Callable[[Mapping[str, str]], Iterator[_Found]]:
    def check(types: Mapping[str, str]) -> Iterator[_Found]:
        if name not in types:
            yield _missing("MISSING-PASSTHROUGH", "the column to pass through", name, types, wanted)

    return check


def _missing(slug: str, kind: str, name: str, types: Mapping[str, str], wanted: set[str]) -> _Found:
    return _Found(slug=slug, column=name, fact=f"{kind} '{name}' is missing", hint=_nearest(name, set(types) - wanted))


def _nearest(name: str, candidates: set[str]) -> str:
    """Guess which column was renamed: equal but for case and punctuation, else the most alike."""
    plain = {_plain(candidate): candidate for candidate in sorted(candidates)}
    near = plain.get(_plain(name))
    if near is None:
        close = difflib.get_close_matches(_plain(name), list(plain), n=1, cutoff=0.7)
        near = plain[close[0]] if close else None
    return "" if near is None else f"; did you mean '{near}'?"


def _plain(name: str) -> str:
    return "".join(each for each in name.casefold() if each.isalnum())


def _extras(types: Mapping[str, str], wanted: set[str]) -> Iterator[_Found]:
    for name in types:
        if name not in wanted:
            fact = f"column '{name}' is neither a feature nor the id nor passed through"
            yield _Found(slug="EXTRA-COLUMN", column=name, fact=fact)


def _mixed_types(footers: Sequence[FooterLike], names: Sequence[str]) -> Iterator[tuple[_Found, list[str]]]:
    """Find columns of the output whose type is not the same in all files."""
    kinds, kind_of = _kinds(footers)
    for name in dict.fromkeys(names):
        by_type: dict[str, list[str]] = {}
        types = [{column.dtype for column in columns if column.name == name} for columns in kinds]
        for footer, kind in zip(footers, kind_of, strict=True):
            for dtype in types[kind]:
                by_type.setdefault(dtype, []).append(footer.file.path)
        common, *others = sorted(by_type, key=lambda dtype: -len(by_type[dtype])) or ["", *()]
        for other in others:
            fact = f"column '{name}' is {common} in {len(by_type[common])} files and {other}"
            yield _Found(slug="MIXED-TYPE", column=name, fact=fact), by_type[other]
