"""Descriptions to adopt datasets with, as `tierlake adopt --spec` takes them."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import yaml
from pydantic import ValidationError

from tierlake.pipelines.errors import SpecError
from tierlake.pipelines.metastore.inference import partitioning_of
from tierlake.pipelines.model.spec import DatasetSpec, PartitionSpec
from tierlake.pipelines.survey.classification import owner_of
from tierlake.pipelines.survey.names import NO_DATA
from tierlake.pipelines.tables.delta_url import is_spelled

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from tierlake.pipelines.metastore.inference import WindowEvidence
    from tierlake.pipelines.model.spec import Tier
    from tierlake.pipelines.survey.classification import FoundDataset
    from tierlake.pipelines.survey.delta_logs import DeltaFigures

__all__ = ["Adoption", "adoptions_of", "file_name"]

_TABLES: Final = ("delta", "iceberg", "hudi")
_ODD: Final = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Adoption:
    """Whether and how a dataset can be adopted.

    Attributes:
        partition: Its partitioning; None where it has none, or its columns leave that open.
        doubt: Why ages cannot be told from its keys, in words.
        problem: Why it cannot be adopted as it is, in words; None where it can.
    """

    partition: PartitionSpec | None = None
    doubt: str | None = None
    problem: str | None = None

    @property
    def time_key(self) -> str | None:
        """The Hive column by whose windows ages are counted; None where there is none."""
        time = self.partition.time if self.partition and not self.doubt else None
        return time.key if time else None

    def spec(self, uri: str, tiers: Sequence[tuple[int, Tier]]) -> str:
        """The YAML.

        Args:
            uri: The dataset.
            tiers: Days of age and the tier from then on; none where they do not pay.
        """
        fields: dict[str, object] = {"uri": uri}
        remarks = [f"tierlake adopt {uri} --spec THIS_FILE"]
        if self.doubt:
            remarks.append(f"{self.doubt}: say `partition.time.every` before you add tiers or retention")
        elif self.partition and self.partition.time:
            time = self.partition.time
            fields["partition"] = {"time": {"key": time.key, "every": time.every, "timezone": time.timezone}}
            if tiers:
                fields["tiers"] = [{"after": f"{days}d", "tier": tier} for days, tier in tiers]
        remarks.append("retention is yours to decide: `retention: {expire_after: 400d}` would expire partitions")
        return "".join(f"# {line}\n" for line in remarks) + yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)


def adoptions_of(
    datasets: Mapping[str, FoundDataset], deltas: Mapping[str, DeltaFigures], root_of: Callable[[str], str]
) -> dict[str, Adoption]:
    """Whether `tierlake adopt` would take each of the datasets, and its partitioning.

    No table lies in another. So where one dataset that could be adopted lies in another one, the outer one cannot.

    Args:
        datasets: By path.
        deltas: What their logs tell, of Delta tables.
        root_of: From a path to `bucket/prefix`.
    """
    tables = _Folders(path for path, found in datasets.items() if found.kind in _TABLES or found.is_ours)
    alone = {path: _adoption(found, deltas.get(path), root_of(path), tables) for path, found in datasets.items()}
    adoptable = _Folders(path for path, one in alone.items() if one.problem is None)
    outer = [path for path, one in alone.items() if one.problem is None and adoptable.has_below(path)]
    below = "another dataset that can be adopted lies below it"
    return alone | {path: replace(alone[path], problem=below) for path in outer}


class _Folders:
    """Some folders, each with its slash, and how another one lies to them."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._sorted = sorted(paths)
        self._paths = frozenset(self._sorted)

    def has_below(self, path: str) -> bool:
        """Whether one of them lies in a folder."""
        following = bisect_right(self._sorted, path)
        return following < len(self._sorted) and self._sorted[following].startswith(path)

    def has_around(self, path: str) -> bool:
        """Whether a folder lies in one of them."""
        return bool(path) and owner_of(path.removesuffix("/"), self._paths) is not None


def _adoption(found: FoundDataset, delta: DeltaFigures | None, root: str, tables: _Folders) -> Adoption:
    columns = delta.columns if delta is not None else found.columns
    partition = doubt = None
    if columns and all(column in found.data.evidence for column in columns):
        try:
            partition = partitioning_of(columns, found.data.evidence)
        except ValidationError:
            return Adoption(problem="its Hive columns cannot be those of a dataset")
        if partition.time is not None:
            doubt = found.data.evidence[partition.time.key].doubt(partition.time)
    return Adoption(partition, doubt, _problem(found, delta, root, tables))


def _problem(found: FoundDataset, delta: DeltaFigures | None, root: str, tables: _Folders) -> str | None:
    if found.is_ours:
        return "it is a dataset already"
    if found.kind in {"iceberg", "hudi"}:
        return f"{found.kind.capitalize()} tables stay with the engine that writes them"
    if not _is_uri(root) or not is_spelled(root):
        return "its name is none that a dataset can have"
    if tables.has_below(found.path):
        return "another table lies below it"
    if tables.has_around(found.path):
        return "it lies inside another table"
    return _of_log(delta) if delta is not None else _of_files(found)


def _of_log(delta: DeltaFigures) -> str | None:
    return f"it uses the Delta features {', '.join(delta.features)}" if delta.features else delta.problem


def _of_files(found: FoundDataset) -> str | None:
    others = sum(count for name, (count, *_) in found.data.formats.items() if name not in {"Parquet", *NO_DATA})
    if found.format != "Parquet" or others > found.data.formats["Parquet"][0]:
        read = found.format in {"CSV", "JSON", "Parquet"}
        way = ": `tierlake ingest` reads them into a new dataset" if read else ", not Parquet"
        return f"its files are {found.format}{way}"
    if found.columns is None:
        return "its files lie at different depths"
    if not found.columns and found.direct < found.data.count - found.data.markers:
        return "its files lie in folders that are no Hive partitions"
    if not found.columns and found.stems is not None and _are_windows(found.stems):
        return "it has one file a partition, named by it: who writes it replaces files where they lie"
    return None


def _are_windows(stems: WindowEvidence) -> bool:
    """Whether files are named by partition, as `Dataset.open` infers it."""
    from tierlake.pipelines.tables.file_per_partition import UNTOLD

    return partitioning_of((UNTOLD,), {UNTOLD: stems}).time is not None


def _is_uri(root: str) -> bool:
    try:
        return DatasetSpec(uri=f"lake://{root}").root == root
    except (SpecError, ValidationError):
        return False


def file_name(path: str, taken: Collection[str]) -> str:
    """A name for a dataset's file, as no other has it.

    Args:
        path: `bucket/prefix`.
        taken: The names of other files.
    """
    base = _ODD.sub("_", path.partition("/")[2] or path).strip("_") or "dataset"
    names = (f"{base}{f'_{number}' if number else ''}.yaml" for number in range(len(taken) + 1))
    return next(name for name in names if name not in taken)
