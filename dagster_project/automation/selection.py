"""Partitions as a person names them at the launchpad: one, a range, or a pattern, in Dagster's spelling or the lake's.

    2013-07-04                     one, as Dagster shows it
    2013-07-01..2013-07-31         both ends included; either may be left out, and a month stands for all of its days
    2013-07*                       a pattern
    JFK|2013-07*                   two dimensions, in Dagster's order
    date=2013-07-01..2013-07-31    by the dataset's columns, as `tierlake ls` prints them; those left out are any

A key that is there counts as itself, whatever letters it has. `pipelines.model.selection` says what lies in a range.
"""

from __future__ import annotations

from contextlib import suppress
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from tierlake.pipelines.errors import UnknownPartition
from tierlake.pipelines.model.partition_key import PartitionKey, escape_value
from tierlake.pipelines.model.selection import KeyText

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    import pyarrow as pa

    from tierlake.dagster_project.partitions.lake_asset import LakeAsset
    from tierlake.dagster_project.partitions.windows import WindowKeys

__all__ = ["chosen", "selected"]

_RANGE: Final = ".."
_WILD: Final = frozenset("*?[")


def chosen(
    asset: LakeAsset,
    texts: Iterable[str],
    candidates: Collection[PartitionKey],
    live: Callable[[], Iterable[PartitionKey]],
    schema: pa.Schema,
) -> list[str | PartitionKey]:
    """The partitions that a person names, each once.

    Args:
        asset: The dataset's.
        texts: See the module's docstring. One that is a single key is returned whether it is a candidate or not.
        candidates: Those that ranges and patterns select from.
        live: Returns what the table has: a range that selects no candidate has to select one of these.
        schema: The table's: types in which values are compared.

    Raises:
        UnknownPartition: A range or a pattern that stands for no partition at all.
        SpecError: A range that ends before it begins, or whose end is no value of its column.
    """
    names: dict[str | PartitionKey, None] = {}
    shown = {str(asset.keys.find_dagster(key)) for key in candidates}
    for text in dict.fromkeys(texts):
        if text in shown or not _is_selection(text, asset):
            names[_exact(text, asset)] = None
            continue
        found = selected(asset, text, candidates, schema)
        if not found and not selected(asset, text, there := list(live()), schema):
            raise _unmatched(asset, text, there)
        names |= dict.fromkeys(found)
    return list(names)


def _is_selection(text: str, asset: LakeAsset) -> bool:
    is_part = _is_of_columns(text, asset) and text.count("/") + 1 < len(asset.keys.columns)
    return _RANGE in text or not _WILD.isdisjoint(text) or is_part


def _exact(text: str, asset: LakeAsset) -> str | PartitionKey:
    return PartitionKey.parse(text) if _is_of_columns(text, asset) else text


def _unmatched(asset: LakeAsset, text: str, live: Sequence[PartitionKey]) -> UnknownPartition:
    names = [str(name) for key in live if (name := asset.keys.find_dagster(key)) is not None]
    has = f"has {len(names)}, from {min(names)} to {max(names)}" if names else "has none"
    return UnknownPartition(
        f"no partition of {asset.name} is {text}: the table {has}",
        hint="write keys, ranges or patterns as Dagster shows them",
    )


def selected(
    asset: LakeAsset, text: str, candidates: Collection[PartitionKey], schema: pa.Schema
) -> list[PartitionKey]:
    """The partitions that a range or a pattern stands for, in their order.

    Args:
        asset: The dataset's.
        text: See the module's docstring.
        candidates: Those to select from.
        schema: The table's.

    Raises:
        UnknownPartition: The text names another number of dimensions than the asset has.
        SpecError: A range that ends before it begins, or whose end is no value of its column.
    """
    if _is_of_columns(text, asset):
        return KeyText.parse(text).among(asset.spec, schema, candidates)
    columns = sorted(asset.keys.columns)
    parts = text.split("|") if len(columns) > 1 else [text]
    if len(parts) != len(columns):
        hint = f"write {'|'.join(columns)}, each a key, a range or a pattern"
        raise UnknownPartition(f"{text} names {len(parts)} dimensions, and {asset.name} has {len(columns)}", hint=hint)
    matching = [_matching(asset, column, part, candidates, schema) for column, part in zip(columns, parts, strict=True)]
    return [key for key in candidates if all(key in keys for keys in matching)]


def _is_of_columns(text: str, asset: LakeAsset) -> bool:
    parts = text.split("/")
    names = [part.partition("=")[0] for part in parts if "=" in part]
    return len(names) == len(parts) and set(names) <= set(asset.keys.columns)


def _matching(
    asset: LakeAsset, column: str, part: str, candidates: Collection[PartitionKey], schema: pa.Schema
) -> set[PartitionKey]:
    """The partitions one value of which is meant, as Dagster shows it."""
    window = asset.keys.windows.get(column)
    values = {key: value for key in candidates if (value := key.value(column)) is not None}
    shown = {key: window.to_dagster(value) if window else value for key, value in values.items()}
    if exact := {key for key, name in shown.items() if name == part}:
        return exact
    if _RANGE in part:
        ends = _RANGE.join(escape_value(_in_the_lake(end, window)) for end in part.split(_RANGE, 1))
        return set(KeyText.parse(f"{escape_value(column)}={ends}").among(asset.spec, schema, values))
    return {key for key, name in shown.items() if fnmatchcase(name, part)}


def _in_the_lake(end: str, window: WindowKeys | None) -> str:
    """The end of a range as the dataset spells it; one that is no key may be wider, as a month of days."""
    if end and window is not None:
        with suppress(ValueError):
            return window.to_lake(end)
    return end
