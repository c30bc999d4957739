"""Rules compiled once to vectorised operations, and applied to the rows of a partition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from batchscore.errors import ConfigError
from batchscore.rules.check import family
from batchscore.rules.options import Lookup, Rule, Value
from batchscore.rules.rows import Rows
from batchscore.rules.tables import Read, read_table

_FEW_RULES = 8
"""Of so many rules every set that can hold together has its text made beforehand: they are 256 at most."""
_COUNTED_RULES = 16
"""Of so many rules the sets that do hold together are found by counting; of more, by sorting."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What the rules made of one partition's rows."""

    prediction: np.ndarray
    """The predictions after the rules, of shape `(n_rows,)`."""
    flag: np.ndarray | None
    """Per row 1 or 0 where a rule set the flag, -1 elsewhere; None when no rule can."""
    columns: Mapping[str, pa.Array]
    """The new columns, and `rule`: the rules that decided, joined by `;`, null where none did."""
    counts: Mapping[str, int]
    """Rows per rule, as `rule:<name>`."""


@dataclass(frozen=True, kw_only=True)
class CompiledRules:
    """Rules with their tables; `apply` may be called from several threads."""

    rules: tuple[Rule, ...]
    """The rules, in order."""
    match: Literal["first", "all"]
    """Whether the first rule that holds decides, or every one acts."""
    tables: Mapping[int, pa.Table]
    """The lookup table of each rule that has one: its keys and its values."""
    types: Mapping[str, pa.DataType]
    """The type of each new column, in the order of the columns."""

    def matches(self, rows: Rows) -> list[np.ndarray]:
        """Return per rule where its conditions hold, whatever the other rules do."""
        held = []
        for rule in self.rules:
            mask = rows.holds(rule.when[0])
            for condition in rule.when[1:]:
                mask = mask & rows.holds(condition)
            held.append(mask)
        return held

    def apply(self, rows: Rows, prediction: np.ndarray) -> Outcome:
        """Let the rules act.

        Args:
            rows: Features, passthrough columns and scores, as they are before any rule.
            prediction: The predictions, of shape `(n_rows,)`; left as they are.
        """
        acting = self.matches(rows)
        if self.match == "first":
            acting = _only_first(acting, rows.n_rows)
        moves = any(rule.then.moves_prediction for rule in self.rules)
        prediction = prediction.copy() if moves else prediction
        flags = any(rule.then.flag is not None for rule in self.rules)
        flag = np.full(rows.n_rows, -1, dtype=np.int8) if flags else None
        columns = {name: _Column(kind, rows.n_rows) for name, kind in self.types.items()}
        for at, (rule, mask) in enumerate(zip(self.rules, acting, strict=True)):
            _move(prediction, rule, mask)
            if flag is not None and rule.then.flag is not None:
                np.putmask(flag, mask, np.int8(rule.then.flag))
            for name, value in rule.then.set.items():
                columns[name].put_where(mask, value)
            if rule.then.lookup is not None:
                _look_up(self.tables[at], rule.then.lookup, rows, mask, prediction, columns)
        return Outcome(
            prediction=prediction,
            flag=flag,
            columns={"rule": self._decided(acting), **{name: column.made() for name, column in columns.items()}},
            counts={f"rule:{rule.name}": int(mask.sum()) for rule, mask in zip(self.rules, acting, strict=True)},
        )

    def _decided(self, acting: Sequence[np.ndarray]) -> pa.Array:
        names = [rule.name for rule in self.rules]
        if self.match == "first":
            codes = np.full(len(acting[0]), -1, dtype=np.int32)
            for at, mask in enumerate(acting):
                np.putmask(codes, mask, np.int32(at))
            return _taken(names, codes, pa.string())
        distinct, codes = _distinct(acting)
        joined = [";".join(name for at, name in enumerate(names) if held >> at & 1) for held in distinct]
        anything = acting[0].copy()
        for mask in acting[1:]:
            anything |= mask
        return _at(joined, codes, anything, pa.string())


def _distinct(acting: Sequence[np.ndarray]) -> tuple[Sequence[int], np.ndarray]:
    """Return sets of rules, as bits, all that hold together among them; and per row which of them holds there."""
    wide = np.uint16 if len(acting) <= _COUNTED_RULES else np.int64
    bits: Any = np.zeros(len(acting[0]), dtype=np.uint8 if len(acting) <= _FEW_RULES else wide)
    for at, mask in enumerate(acting):
        bits |= np.left_shift(mask, at, dtype=bits.dtype)
    if len(acting) <= _FEW_RULES:
        return range(1 << len(acting)), bits
    if len(acting) > _COUNTED_RULES:
        found, index = np.unique(bits, return_inverse=True)
        return found.tolist(), index
    # Counting is several times faster than the sort that `np.unique` does.
    found = np.flatnonzero(np.bincount(bits, minlength=1))
    places = np.zeros(1 << len(acting), dtype=np.int32)
    places[found] = np.arange(len(found), dtype=np.int32)
    return found.tolist(), places[bits]


def compile_rules(
    rules: Sequence[Rule],
    match: Literal["first", "all"],
    types: Mapping[str, str | None],
    *,
    read: Read,
    probability: bool,
    key: str = "postprocess.rules",
) -> CompiledRules:
    """Read the tables of the rules and fix the types of the new columns.

    Args:
        rules: Rules that `check_rules` found right.
        match: `first` or `all`.
        types: Every column that rules may look at, with its type in the words of the feature schema.
        read: Returns the bytes of a table's path.
        probability: Whether the prediction is a probability.
        key: The path of the rules in the configuration.

    Raises:
        ConfigError: When a table is missing, another one, or does not fit.
    """
    tables: dict[int, pa.Table] = {}
    given: dict[str, list[pa.DataType]] = {}
    for at, rule in enumerate(rules):
        for name, value in rule.then.set.items():
            given.setdefault(name, []).append(_type_of(value))
        if rule.then.lookup is not None:
            path = f"{key}.{at}.then.lookup"
            tables[at] = _table(rule.then.lookup, types, read, path, probability=probability)
            if rule.then.lookup.into != "prediction":
                given.setdefault(rule.then.lookup.into, []).append(tables[at].column(1).type)
    made = {name: _common(name, kinds, key) for name, kinds in given.items()}
    return CompiledRules(rules=tuple(rules), match=match, tables=tables, types=made)


class _Column:
    """A new column while rules fill it: codes into all values that any rule may set."""

    def __init__(self, kind: pa.DataType, n_rows: int) -> None:
        self._kind = kind
        self._values: list[Any] = []
        self._codes = np.full(n_rows, -1, dtype=np.int32)

    def put_where(self, mask: np.ndarray, value: Value) -> None:
        """Set the rows where the mask is true to one value."""
        np.putmask(self._codes, mask, np.int32(len(self._values)))
        self._values.append(value)

    def put(self, where: np.ndarray, values: Sequence[Any], index: np.ndarray) -> None:
        """Set the rows numbered `where` to `values[index]`."""
        self._codes[where] = index + len(self._values)
        self._values.extend(values)

    def made(self) -> pa.Array:
        return _taken(self._values, self._codes, self._kind)


def _taken(values: Sequence[Any], codes: np.ndarray, kind: pa.DataType) -> pa.Array:
    """Return `values[codes]`, null where a code is negative."""
    return _at(values, codes, codes >= 0, kind)


def _at(values: Sequence[Any], index: np.ndarray, valid: np.ndarray, kind: pa.DataType) -> pa.Array:
    """Return `values[index]`, null where not valid; faster than `pa.array` with a mask, which makes the bits one by one."""
    bits = None if valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))
    places = pa.Array.from_buffers(pa.from_numpy_dtype(index.dtype), len(index), [bits, pa.py_buffer(index)])
    return pa.array(values, kind).take(places)


def _only_first(held: Sequence[np.ndarray], n_rows: int) -> list[np.ndarray]:
    open_rows = np.ones(n_rows, dtype=bool)
    first = []
    for mask in held:
        first.append(mask & open_rows)
        open_rows &= ~mask
    return first


def _move(prediction: np.ndarray, rule: Rule, mask: np.ndarray) -> None:
    then = rule.then
    if then.prediction is not None:
        np.putmask(prediction, mask, then.prediction)
    # A prediction that is equal becomes the limit too, which is another zero where their signs differ.
    if then.at_most is not None:
        np.putmask(prediction, mask & (prediction >= then.at_most), then.at_most)
    if then.at_least is not None:
        np.putmask(prediction, mask & (prediction <= then.at_least), then.at_least)


def _look_up(
    table: pa.Table,
    lookup: Lookup,
    rows: Rows,
    mask: np.ndarray,
    prediction: np.ndarray,
    columns: Mapping[str, _Column],
) -> None:
    import pyarrow.compute as pc

    where = np.flatnonzero(mask)
    asked, keys = _comparable(rows.column(lookup.by).take(pa.array(where)), table.column(0).combine_chunks())
    found = pc.index_in(asked, value_set=keys, skip_nulls=True)
    index = np.asarray(found.fill_null(-1).to_numpy(zero_copy_only=False))
    where, index = where[index >= 0], index[index >= 0]
    values = table.column(1)
    if lookup.into == "prediction":
        prediction[where] = values.cast(pa.float64()).to_numpy()[index]
    else:
        columns[lookup.into].put(where, values.to_pylist(), index)


def _comparable(asked: pa.Array, keys: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Return what is looked up and the keys in one type, without changing a value; a key that can not be asked for is null."""
    import pyarrow.compute as pc

    if pa.types.is_floating(asked.type):
        # A negative zero becomes the zero that it equals.
        return pc.add(asked.cast(pa.float64()), 0.0), keys.cast(pa.float64(), safe=False)
    if asked.type == pa.uint64():
        return asked, pc.if_else(pc.less(keys, 0), None, keys).cast(pa.uint64())
    return asked.cast(keys.type), keys


def _table(lookup: Lookup, types: Mapping[str, str | None], read: Read, path: str, *, probability: bool) -> pa.Table:
    key = lookup.key or lookup.by
    dtype = types.get(lookup.by)
    # Keys of a column whose type is not known yet stay texts: 01 and 1 may be two of them.
    texts = [key] if dtype in ("string", None) else []
    table = read_table(lookup.path, lookup.sha256, [key, lookup.value], read=read, key=path, texts=texts)
    kind = table.column(0).type
    if dtype is not None and key_family(kind) != family(dtype):
        raise _misfit(path, f"looks up '{lookup.by}', which is {dtype}, among keys of '{key}', which are {kind}")
    if len(table.column(0).unique()) != table.num_rows:
        raise _misfit(path, f"has a key twice in the column '{key}' of '{lookup.path}'")
    if pa.types.is_floating(table.column(0).type):
        raise _misfit(path, f"has keys with fractions in the column '{key}' of '{lookup.path}'")
    if lookup.into != "prediction":
        return table
    kind = table.column(1).type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise _misfit(path, f"gives predictions out of the column '{lookup.value}', which is {kind}")
    numbers = table.column(1).cast(pa.float64()).to_numpy()
    if not np.isfinite(numbers).all() or (probability and not ((numbers >= 0) & (numbers <= 1)).all()):
        raise _misfit(path, f"gives predictions out of the column '{lookup.value}' that lie outside their range")
    return table


def key_family(kind: pa.DataType) -> str:
    """Return the kind of values that a table's keys are compared with."""
    tests = {
        "text": pa.types.is_string,
        "boolean": pa.types.is_boolean,
        "date": pa.types.is_date,
        "time": pa.types.is_timestamp,
    }
    return next((name for name, test in tests.items() if test(kind)), "number")


def _type_of(value: Value) -> pa.DataType:
    if isinstance(value, bool):
        return pa.bool_()
    if isinstance(value, int):
        return pa.int64()
    return pa.string() if isinstance(value, str) else pa.float64()


def _common(name: str, kinds: Sequence[pa.DataType], key: str) -> pa.DataType:
    if len(set(kinds)) == 1:
        return kinds[0]
    if all(kind in (pa.int64(), pa.float64()) for kind in kinds):
        return pa.float64()
    raise _misfit(key, f"sets the column '{name}' to values of several types: {', '.join(map(str, kinds))}")


def _misfit(path: str, fact: str) -> ConfigError:
    return ConfigError(f"{path} {fact}", slug="RULES-DATA", remedy="mend the rule or release the table again")
