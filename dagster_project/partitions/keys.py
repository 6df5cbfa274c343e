"""Dagster's partition keys and tierlake's, one for one.

A time window's key is the same text on both sides (`2013-07-04`, `2013-07`) where `time_windows` makes the definition:
Dagster gets the format in which tierlake writes key values, and the dataset's timezone, so that a day starts for both
at the same instant. Other definitions of the same windows are mapped (`window_keys`). With two dimensions, each is
named after its Hive column.

    2013-07-04           date=2013-07-04
    201307               month=2013-07
    JFK|2013-07-04       date=2013-07-04/origin=JFK
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import dagster as dg

from tierlake.dagster_project.partitions.windows import STARTS, WindowKeys, window_keys
from tierlake.pipelines.errors import SpecError
from tierlake.pipelines.model.partition_key import PartitionKey
from tierlake.pipelines.model.time_window import KEY_FORMATS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tierlake.pipelines.model.spec import PartitionSpec
    from tierlake.pipelines.model.time_window import Every

__all__ = ["KeyNames", "KnownPartitions", "known_keys", "time_windows", "unknown_values"]


def time_windows(every: Every, timezone: str, start: str, end: str | None = None) -> dg.TimeWindowPartitionsDefinition:
    """Time-window partitions whose Dagster keys are the values of the dataset's time key.

    Args:
        every: Hour, day, month or year.
        timezone: IANA name, the dataset's.
        start: The first key, as tierlake writes it: `2013-01-01` for days, `2013-01` for months.
        end: The key of the first window that is left out; None goes on with the clock.
    """
    return dg.TimeWindowPartitionsDefinition(
        start=start, end=end, fmt=KEY_FORMATS[every], cron_schedule=STARTS[every], timezone=timezone
    )


@dataclass(frozen=True, slots=True)
class KeyNames:
    """Maps keys of one dataset.

    Attributes:
        columns: The dataset's partition columns, in the table's order.
        windows: The columns whose values Dagster spells differently.
    """

    columns: tuple[str, ...]
    windows: Mapping[str, WindowKeys] = field(default_factory=dict)

    @classmethod
    def of(cls, asset: str, partition: PartitionSpec, partitions_def: dg.PartitionsDefinition[str] | None) -> KeyNames:
        """The names for a dataset and for the definition of its asset.

        Args:
            asset: The asset's name, for messages.
            partition: The dataset's.
            partitions_def: The asset's; None where it has none.

        Raises:
            SpecError: The two do not have the same partitions.
        """
        columns = partition.columns
        if partitions_def is None:
            return cls(columns)
        parts = _dimensions(partitions_def)
        if isinstance(partitions_def, dg.MultiPartitionsDefinition):
            if parts.keys() != set(columns):
                raise _other_dimensions(asset, sorted(parts), columns)
        elif len(columns) != 1:
            raise _other_dimensions(asset, [], columns)
        else:
            parts = dict.fromkeys(columns, partitions_def)
        time = partition.time
        windows: dict[str, WindowKeys] = {}
        for name, part in parts.items():
            if time is not None and name == time.key and isinstance(part, dg.TimeWindowPartitionsDefinition):
                mapped = window_keys(asset, part, time)
                windows |= {name: mapped} if mapped else {}
        return cls(columns, windows)

    def to_lake(self, key: str) -> PartitionKey:
        """The dataset's key of a Dagster key.

        Raises:
            ValueError: Two dimensions on one side, another number on the other.
        """
        values = self._values(key)
        if set(values) != set(self.columns):
            raise ValueError(f"dimensions {sorted(values)} are not the columns {sorted(self.columns)}")
        return PartitionKey.of((column, self._value(column, values[column])) for column in self.columns)

    def to_dagster(self, key: PartitionKey) -> str:
        """The Dagster key of a dataset's key."""
        values = key.as_dict()
        values |= {name: keys.to_dagster(values[name]) for name, keys in self.windows.items() if name in values}
        if len(values) == 1:
            return values[self.columns[0]]
        return dg.MultiPartitionKey(values)

    def find_lake(self, key: str) -> PartitionKey | None:
        """The dataset's key of a Dagster key; None for one of another partitioning, as events may still have it."""
        try:
            return self.to_lake(key)
        except ValueError:
            return None

    def find_dagster(self, key: PartitionKey) -> str | None:
        """The Dagster key of a dataset's key; None where Dagster's text would be read as another key."""
        spelled = self.to_dagster(key)
        return spelled if self.find_lake(str(spelled)) == key else None

    def _value(self, column: str, value: str) -> str:
        return self.windows[column].to_lake(value) if column in self.windows else value

    def _values(self, key: str) -> dict[str, str]:
        """Column to value. As text, and so in run configs and events, dimensions stand in the order of their names."""
        if isinstance(key, dg.MultiPartitionKey):
            return dict(key.keys_by_dimension)
        if len(self.columns) == 1:
            return {self.columns[0]: key}
        values = key.split("|")
        if len(values) != len(self.columns):
            raise ValueError(f"{key!r} names {len(values)} values, the dataset is partitioned by {self.columns}")
        return dict(zip(sorted(self.columns), values, strict=True))


class KnownPartitions:
    """The partitions that a definition has, each dimension's keys computed once."""

    def __init__(
        self,
        partitions_def: dg.PartitionsDefinition[str],
        instance: dg.DagsterInstance,
        added: Mapping[str, set[str]] | None = None,
    ) -> None:
        """Compute the keys.

        Args:
            partitions_def: An asset's.
            instance: Knows the keys of dynamic partitions.
            added: Keys that are about to be added, as `unknown_values` returns them.
        """
        self._partitions_def = partitions_def
        self._values = {
            name: {*part.get_partition_keys(dynamic_partitions_store=instance), *(added or {}).get(_dynamic(part), ())}
            for name, part in _dimensions(partitions_def).items()
        }

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, str):
            return False
        values = _by_dimension(key, self._partitions_def)
        return values.keys() == self._values.keys() and all(
            value in self._values[name] for name, value in values.items()
        )


def known_keys(
    keys: Iterable[str],
    partitions_def: dg.PartitionsDefinition[str],
    instance: dg.DagsterInstance,
    added: Mapping[str, set[str]] | None = None,
) -> tuple[list[str], list[str]]:
    """Split keys into those that the partitions definition has, and the others.

    One unknown key in a sensor's tick fails the whole tick.

    Args:
        keys: As `KeyNames.to_dagster` makes them.
        partitions_def: The asset's.
        instance: Knows the keys of dynamic partitions.
        added: Keys that are about to be added, as `unknown_values` returns them.

    Returns:
        The known and the unknown keys, each in the order given.
    """
    requested = list(keys)
    if not requested:  # a definition's keys are its cron schedule's: thousands of them take a while
        return [], []
    partitions = KnownPartitions(partitions_def, instance, added)
    known: list[str] = []
    unknown: list[str] = []
    for key in requested:
        (known if key in partitions else unknown).append(key)
    return known, unknown


def unknown_values(
    keys: Iterable[str], partitions_def: dg.PartitionsDefinition[str], instance: dg.DagsterInstance
) -> dict[str, set[str]]:
    """The values that dynamic partitions definitions lack for these keys to be known, by the definition's name."""
    missing: dict[str, set[str]] = {}
    dynamic = {name: part for name, part in _dimensions(partitions_def).items() if _dynamic(part)}
    added = {name: set(part.get_partition_keys(dynamic_partitions_store=instance)) for name, part in dynamic.items()}
    for key in keys if dynamic else ():
        for name, value in _by_dimension(key, partitions_def).items():
            if name in dynamic and value not in added[name]:
                missing.setdefault(_dynamic(dynamic[name]), set()).add(value)
    return missing


def _dimensions(partitions_def: dg.PartitionsDefinition[str]) -> dict[str, dg.PartitionsDefinition[str]]:
    """By name; the one dimension of other definitions has none."""
    if isinstance(partitions_def, dg.MultiPartitionsDefinition):
        return {part.name: part.partitions_def for part in partitions_def.partitions_defs}
    return {"": partitions_def}


def _by_dimension(key: str, partitions_def: dg.PartitionsDefinition[str]) -> Mapping[str, str]:
    if not isinstance(partitions_def, dg.MultiPartitionsDefinition):
        return {"": key}
    if isinstance(key, dg.MultiPartitionKey):
        return key.keys_by_dimension
    names = sorted(_dimensions(partitions_def))
    values = key.split("|")
    return dict(zip(names, values, strict=True)) if len(values) == len(names) else {"?": key}


def _other_dimensions(asset: str, names: list[str], columns: tuple[str, ...]) -> SpecError:
    has = f"the dimensions {', '.join(names)}" if names else "partitions of one dimension"
    by = f"partitioned by {', '.join(columns)}" if columns else "not partitioned"
    if not columns:
        hint = (
            "write partition: {time: {column: ..., every: day}}, or {by: [column]}, in the dataset's description "
            "(metadata=spec_metadata(DatasetSpec(...))); or leave partitions_def out"
        )
    elif len(columns) == 1:
        hint = f"partition the asset by {columns[0]} alone, or the dataset by {', '.join(names)}"
    else:
        named = ", ".join(f'"{name}": ...' for name in columns)
        hint = f"name each dimension after its column: MultiPartitionsDefinition({{{named}}})"
    return SpecError(f"{asset}: the asset has {has}, and its dataset is {by}", hint=hint)


def _dynamic(partitions_def: dg.PartitionsDefinition[str]) -> str:
    """The name under which keys are added; empty where none can be."""
    return (partitions_def.name or "") if isinstance(partitions_def, dg.DynamicPartitionsDefinition) else ""
