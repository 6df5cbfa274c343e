"""Partitions as a person names them at the launchpad: one, a range, or a pattern.

    2013-07-04                     one, as Dagster shows it
    2013-07-01..2013-07-31         both ends included; either may be left out, and a month stands for all of its days
    2013-07*                       a pattern
    JFK|2013-07*                   two dimensions, in Dagster's order
    date=2013-07-01..2013-07-31    by the dataset's columns, as `tierlake ls` prints them; those left out are any

A key that is there counts as itself, whatever letters it has.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from tierlake.pipelines.errors import UnknownPartition
from tierlake.pipelines.model.partition_key import PartitionKey

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from tierlake.dagster_project.partitions.lake_asset import LakeAsset
    from tierlake.dagster_project.partitions.windows import WindowKeys

__all__ = ["chosen", "selected"]

_RANGE: Final = ".."
_ANY: Final = "*"


def chosen(
    asset: LakeAsset,
    texts: Iterable[str],
    candidates: Collection[PartitionKey],
    live: Callable[[], Iterable[PartitionKey]],
) -> list[str | PartitionKey]:
    """The partitions that a person names, each once.

    Args:
        asset: The dataset's.
        texts: See the module's docstring. One that is a single key is returned whether it is a candidate or not.
        candidates: Those that ranges and patterns select from.
        live: Returns what the table has: a range that selects no candidate has to select one of these.

    Raises:
        UnknownPartition: A range or a pattern that stands for no partition at all.
    """
    names: dict[str | PartitionKey, None] = {}
    shown = {str(asset.keys.find_dagster(key)) for key in candidates}
    for text in dict.fromkeys(texts):
        if text in shown or not _is_selection(text, asset):
            names[_exact(text, asset)] = None
            continue
        found = selected(asset, text, candidates)
        if not found and not selected(asset, text, there := list(live())):
            raise _unmatched(asset, text, there)
        names |= dict.fromkeys(found)
    return list(names)


def _is_selection(text: str, asset: LakeAsset) -> bool:
    is_part = _is_of_columns(text, asset) and text.count("/") + 1 < len(asset.keys.columns)
    return _RANGE in text or _ANY in text or is_part


def _exact(text: str, asset: LakeAsset) -> str | PartitionKey:
    return PartitionKey.parse(text) if _is_of_columns(text, asset) else text


def _unmatched(asset: LakeAsset, text: str, live: Sequence[PartitionKey]) -> UnknownPartition:
    names = [str(name) for key in live if (name := asset.keys.find_dagster(key)) is not None]
    has = f"has {len(names)}, from {min(names)} to {max(names)}" if names else "has none"
    return UnknownPartition(
        f"no partition of {asset.name} is {text}: the table {has}",
        hint="write keys, ranges or patterns as Dagster shows them",
    )


def selected(asset: LakeAsset, text: str, candidates: Iterable[PartitionKey]) -> list[PartitionKey]:
    """The partitions that a range or a pattern stands for, in their order.

    Args:
        asset: The dataset's.
        text: See the module's docstring.
        candidates: Those to select from.

    Raises:
        UnknownPartition: The text names other columns than the dataset has, or an end that is no key.
    """
    if _is_of_columns(text, asset):
        patterns = {column: unquote(one) for column, one in (part.split("=", 1) for part in text.split("/"))}
        return [key for key in candidates if all(_fits(asset, key, *one, is_lake=True) for one in patterns.items())]
    columns = sorted(asset.keys.columns)
    parts = text.split("|") if len(columns) > 1 else [text]
    if len(parts) != len(columns):
        hint = f"write {'|'.join(columns)}, each a key, a range or a pattern"
        raise UnknownPartition(f"{text} names {len(parts)} dimensions, and {asset.name} has {len(columns)}", hint=hint)
    return [key for key in candidates if all(_fits(asset, key, *one) for one in zip(columns, parts, strict=True))]


def _is_of_columns(text: str, asset: LakeAsset) -> bool:
    parts = text.split("/")
    names = [part.partition("=")[0] for part in parts if "=" in part]
    return len(names) == len(parts) and set(names) <= set(asset.keys.columns)


def _fits(asset: LakeAsset, key: PartitionKey, column: str, pattern: str, *, is_lake: bool = False) -> bool:
    """Whether one of a partition's values is meant."""
    value = key.value(column)
    if value is None:
        return False
    window = None if is_lake else asset.keys.windows.get(column)
    shown = window.to_dagster(value) if window else value
    if shown == pattern:
        return True
    if _RANGE in pattern:
        return bool(value) and _is_between(
            asset, column, value, [_lake_end(asset, window, end) for end in pattern.split(_RANGE, 1)]
        )
    return re.fullmatch(".*".join(map(re.escape, pattern.split(_ANY))), shown, re.DOTALL) is not None


def _lake_end(asset: LakeAsset, window: WindowKeys | None, end: str) -> str:
    if not end or window is None:
        return end
    try:
        return window.to_lake(end)
    except ValueError as error:
        hint = "write both ends as Dagster shows them"
        raise UnknownPartition(f"{end} is no key of {asset.name}: {error}", hint=hint) from error


def _is_between(asset: LakeAsset, column: str, value: str, ends: Sequence[str]) -> bool:
    first, last = ends
    time = asset.spec.partition.time
    is_within = time is not None and column == time.key and bool(last) and value.startswith(last)
    return (not first or value >= first) and (not last or value <= last or is_within)
