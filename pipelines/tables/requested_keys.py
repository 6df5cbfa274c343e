"""Keys from callers: which of them a table could have, the right spelling of the others, and what a selection names.

A key that no partition can have is a typing error, and so is a range or a pattern that no partition matches. If they
counted as absent partitions, a request would silently do nothing.
"""

from __future__ import annotations

from bisect import bisect
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from tierlake.connector.nearest import nearest
from tierlake.pipelines.errors import SpecError, UnknownPartition
from tierlake.pipelines.model.partition_key import PartitionKey, spelled, typed
from tierlake.pipelines.model.selection import KeyText
from tierlake.pipelines.model.time_window import is_key, key_named_by
from tierlake.pipelines.runtime.collector import collector_paused

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    import pyarrow as pa

    from tierlake.pipelines.model.selection import Selection
    from tierlake.pipelines.model.spec import DatasetSpec, TimePartition
    from tierlake.pipelines.tables.snapshot import Snapshot

__all__ = ["check_possible", "faults", "nearby", "select", "selected", "unknown"]

_COMPARED: Final = 2000
"""Keys that a mistyped one is compared with letter by letter, a second of work."""


def selected(
    spec: DatasetSpec,
    schema: pa.Schema | None,
    selection: Selection,
    candidates: Collection[PartitionKey],
    absent: Callable[[PartitionKey], UnknownPartition | None],
    *,
    which: str = "",
) -> tuple[PartitionKey, ...]:
    """The partitions that a selection names, in key order. Each of its keys must name one.

    Args:
        spec: The dataset's spec.
        schema: The table's schema, with its partition columns; None where it has none yet.
        selection: What the caller wants.
        candidates: The partitions to choose from.
        absent: The error for a key that is none of them; None to take it all the same.
        which: What the candidates have in common, as ` that can be undone`.

    Raises:
        UnknownPartition: Nothing matches, with the nearest keys; or an absent key.
        SpecError: A wrong range, or a span of time for a dataset without windows.
    """
    known = set(candidates)
    chosen = known if not selection.keys else set()
    with collector_paused():
        for key in selection.keys:
            text = key if isinstance(key, PartitionKey) else KeyText.parse(key)
            if isinstance(text, KeyText) and not text.is_exact(spec):
                matching = text.among(spec, schema, known)
                if not matching:
                    raise _no_match(spec, text.text, known, which)
                chosen.update(matching)
                continue
            one = text.key if isinstance(text, KeyText) else text
            if one not in known and (error := absent(one)) is not None:
                raise error
            chosen.add(one)
    lies_within = selection.within(spec)
    if lies_within is not None:
        chosen = {key for key in chosen if lies_within(key)}
        if not chosen:
            raise _no_match(spec, str(selection), known, which)
    return tuple(sorted(chosen, key=attrgetter("items")))


def select(spec: DatasetSpec, snapshot: Snapshot, selection: Selection) -> tuple[PartitionKey, ...]:
    """The partitions of a table that a selection names, in key order; see `selected`."""
    live = snapshot.by_partition()
    if selection.is_all:
        return tuple(live)
    schema = snapshot.known_schema
    return selected(spec, schema, selection, live, lambda key: unknown(spec, snapshot, key))


def _no_match(spec: DatasetSpec, text: str, known: Collection[PartitionKey], which: str) -> UnknownPartition:
    there = nearby(text, known)
    return UnknownPartition(
        f"{spec.uri} has no partition{which} that matches {text}", hint=there or f"there is no partition{which} at all"
    )


def nearby(text: str, keys: Collection[PartitionKey]) -> str:
    """Which keys are next to a text that is none of them, and from where to where they go; empty without keys."""
    if not keys:
        return ""
    names = [str(key) or "(all)" for key in sorted(keys, key=attrgetter("items"))]
    if len(names) == 1:
        return f"there is one, {names[0]}"
    at = bisect(names, text)
    near = dict.fromkeys(names[max(0, at - 1) : at + 1])
    alike = nearest(text, names) if len(names) <= _COMPARED else None
    shown = " and ".join({alike: None, **near} if alike is not None else near)
    return f"next to it: {shown}; there are {len(names):,}, from {names[0]} to {names[-1]}"


def check_possible(
    spec: DatasetSpec, schema: pa.Schema | None, keys: Iterable[PartitionKey], live: Collection[PartitionKey]
) -> None:
    """Refuse keys that no partition of the table can have.

    Args:
        spec: The dataset's spec.
        schema: The table's schema, with its partition columns; None where it has none yet.
        keys: The caller's keys.
        live: Keys of the table, which are right in any writer's spelling.

    Raises:
        UnknownPartition: One has other columns, a value in another spelling, or one that does not fit its column.
    """
    for error in faults(spec, schema, keys, live).values():
        raise error


def faults(
    spec: DatasetSpec, schema: pa.Schema | None, keys: Iterable[PartitionKey], live: Collection[PartitionKey]
) -> dict[PartitionKey, UnknownPartition]:
    """The error for each key that no partition of the table can have; see `check_possible`."""
    errors = {key: _fault(spec, schema, key) for key in keys if key not in live}
    return {key: error for key, error in errors.items() if error is not None}


def unknown(spec: DatasetSpec, snapshot: Snapshot, key: PartitionKey, more: str = "") -> UnknownPartition:
    """The error for a key that the table does not have: its right spelling, or that there is none.

    Args:
        spec: The dataset's spec.
        snapshot: The table's present state.
        key: The caller's key.
        more: Other places that were searched, as `, and none was expired`.
    """
    fault = _fault(spec, snapshot.schema, key)
    if fault is not None:
        return fault
    named = f"{spec.uri} has no partition {key}"
    if (other := _alike(snapshot, key)) is not None:
        return UnknownPartition(f"{named}: it is spelled {other} there", hint=f"write {other}")
    there = nearby(str(key), snapshot.by_partition())
    return UnknownPartition(f"{named}{more}", hint=f"`tierlake ls` prints the keys{there and '; '}{there}")


def _fault(spec: DatasetSpec, schema: pa.Schema | None, key: PartitionKey) -> UnknownPartition | None:
    columns = spec.partition.columns
    if key.columns != columns:
        by = f"partitioned by {', '.join(columns)}" if columns else "not partitioned"
        return UnknownPartition(f"{spec.uri} has no partition {key}: it is {by}", hint=_with_columns(key, columns))
    right: list[tuple[str, str]] = []
    for name, value in key.items:
        time = spec.partition.time if spec.partition.time and spec.partition.time.key == name else None
        spelling = _window_key(value, time) if time else _value(name, value, schema)
        if spelling is None:
            what = f"the key of one {time.every}" if time else f"a value of that column, which is {_kind(name, schema)}"
            example = f"write {name}={_EXAMPLES[time.every]}" if time else "`tierlake ls` prints the keys"
            shown = f"{name}={value}" if value else f"{name}= (null)"
            return UnknownPartition(f"{spec.uri} has no partition {key}: {shown} is not {what}", hint=example)
        right.append((name, spelling))
    if tuple(right) == key.items:
        return None
    expected = PartitionKey(tuple(right))
    return UnknownPartition(f"{spec.uri} spells the partition {key} as {expected}", hint=f"write {expected}")


_EXAMPLES = {"hour": "2013-07-04T05", "day": "2013-07-04", "month": "2013-07", "year": "2013"}


def _with_columns(key: PartitionKey, columns: tuple[str, ...]) -> str:
    values = key.as_dict()
    if not columns:
        return "leave the key out"
    if values.keys() == set(columns):
        return f"write {PartitionKey(tuple((name, values[name]) for name in columns))}"
    return f"write {'/'.join(f'{name}=...' for name in columns)}"


def _window_key(value: str, time: TimePartition) -> str | None:
    return value if is_key(value, time.every, time.timezone) else key_named_by(value, time.every, time.timezone)


def _kind(name: str, schema: pa.Schema | None) -> pa.DataType | None:
    return schema.field(name).type if schema is not None and name in schema.names else None


def _value(name: str, value: str, schema: pa.Schema | None) -> str | None:
    """The value as keys spell it; None for text that does not fit its column's type."""
    kind = _kind(name, schema)
    if kind is None or value == "":
        return value
    try:
        return spelled(typed(value, kind).as_py())
    except (SpecError, ValueError):
        return None


def _alike(snapshot: Snapshot, key: PartitionKey) -> PartitionKey | None:
    """A key of the table with the same values in another writer's spelling."""
    schema = snapshot.schema
    values = [_value(name, value, schema) for name, value in key.items]
    for live in snapshot.by_partition():
        if live.columns == key.columns and [_value(name, value, schema) for name, value in live.items] == values:
            return live
    return None
