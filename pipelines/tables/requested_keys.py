"""Keys from callers: which of them a table could have, and the right spelling of the others.

A key that no partition can have is a typing error. If it counted as an absent partition, a request would silently do
nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tierlake.pipelines.errors import SpecError, UnknownPartition
from tierlake.pipelines.model.partition_key import PartitionKey, spelled, typed
from tierlake.pipelines.model.time_window import is_key, key_named_by

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    import pyarrow as pa

    from tierlake.pipelines.model.spec import DatasetSpec, TimePartition
    from tierlake.pipelines.tables.snapshot import Snapshot

__all__ = ["check_possible", "faults", "unknown"]


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
    return UnknownPartition(f"{named}{more}", hint="`tierlake ls` prints the keys")


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
