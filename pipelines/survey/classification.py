"""Which datasets a tree of folders holds: a pure function of what the names tell.

An object belongs to the innermost table around it: a folder with `_delta_log/`, with `metadata/*.metadata.json`, with
`.hoodie/`, or with a description of ours. Without one it belongs to the Hive prefix above the first `column=value`
folder of its path. Else it is one of the files of a folder: of the last one, from the top, that has a name of its own;
folders that are one of many, and hidden ones, are no datasets by themselves.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from tierlake.pipelines.survey.folders import MANY
from tierlake.pipelines.survey.names import NO_DATA, OTHER, hive_pair, is_hidden, is_one_of_many
from tierlake.pipelines.survey.totals import Totals

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from tierlake.pipelines.metastore.inference import WindowEvidence
    from tierlake.pipelines.survey.folders import Folder, LogFacts

__all__ = ["FoundDataset", "Kind", "datasets_in", "owner_of"]

Kind = Literal["delta", "iceberg", "hudi", "hive", "files"]

_METADATA: Final = "metadata"


@dataclass(slots=True)
class FoundDataset:
    """One dataset.

    Attributes:
        path: Its folder below the surveyed prefix, with its slash; empty for that prefix itself.
        kind: What marks it.
        is_ours: It has a description of ours.
        log: Of a Delta table.
        has_hint: Of an Iceberg table with `version-hint.text`.
        is_folded: It holds folders that were too many to be told apart.
        data: The objects that readers look at.
        beside: Logs, metadata and other hidden objects.
        direct: Objects in the folder itself, not in its folders.
        stems: What the names of Parquet files among these tell; None without any.
    """

    path: str
    kind: Kind
    is_ours: bool = False
    log: LogFacts | None = None
    has_hint: bool = False
    is_folded: bool = False
    data: Totals = field(default_factory=Totals)
    beside: Totals = field(default_factory=Totals)
    direct: int = 0
    stems: WindowEvidence | None = None

    @property
    def count(self) -> int:
        """All objects."""
        return self.data.count + self.beside.count

    @property
    def markers(self) -> int:
        """Empty objects that only stand for folders."""
        return self.data.markers + self.beside.markers

    @property
    def bytes(self) -> int:
        """Their size."""
        return self.data.bytes + self.beside.bytes

    @property
    def format(self) -> str:
        """The format of most of its bytes."""
        shown = {name: size for name, size in self.data.formats.items() if name not in NO_DATA}
        return max(shown, key=lambda name: (shown[name][1], shown[name][0])) if shown else OTHER

    @property
    def columns(self) -> tuple[str, ...] | None:
        """The Hive columns of all its paths; None where paths differ."""
        chains = list(self.data.chains)
        in_chains = sum(self.data.chains.values())
        data = sum(count for name, (count, *_) in self.data.formats.items() if name not in NO_DATA)
        return chains[0] if len(chains) == 1 and in_chains >= data else None if chains else ()


def datasets_in(root: Folder) -> dict[str, FoundDataset]:
    """All datasets of a tree, by path, but for folders that hold nothing, or only objects that stand for folders.

    Args:
        root: The folder that was listed.
    """
    found: dict[str, FoundDataset] = {}
    visits = [_Visit(root, "", None, is_beside=False)]
    while visits:
        visits += reversed(_visit(visits.pop(), found))
    return {path: one for path, one in sorted(found.items()) if one.count > one.markers}


def owner_of(path: str, datasets: Container[str]) -> str | None:
    """The innermost dataset whose folder a key lies in; None where there is none.

    Args:
        path: The key below the surveyed prefix.
        datasets: By path, or their paths.
    """
    return next((folder for folder in _above(path) if folder in datasets), None)


def _above(path: str) -> Iterator[str]:
    end = path.rfind("/")
    while end >= 0:
        yield path[: end + 1]
        end = path.rfind("/", 0, end)
    yield ""


@dataclass(frozen=True, slots=True)
class _Visit:
    """A folder to look at.

    Attributes:
        folder: The folder.
        path: Of it.
        owner: The dataset around it; None where there is none.
        is_beside: Whether its objects are none that readers of that dataset look at.
    """

    folder: Folder
    path: str
    owner: FoundDataset | None
    is_beside: bool


def _visit(visit: _Visit, found: dict[str, FoundDataset]) -> list[_Visit]:
    """Count a folder's own objects.

    Returns:
        The folders in it, to be looked at next.
    """
    folder, path, owner, is_beside = visit.folder, visit.path, visit.owner, visit.is_beside
    if folder.is_table:
        owner, is_beside = _table(folder, path), False
        found[path] = owner
    here = owner or _without_table(folder, path, found)
    (here.beside if is_beside else here.data).merge(folder.own)
    if here.path == path:
        here.direct += folder.own.count
        here.stems = folder.stems
    here.is_folded |= folder.is_folded
    following: list[_Visit] = []
    for name, inner in folder.folders.items():
        is_many = name == MANY or is_one_of_many(name, among_hashes=folder.has_hashes)
        has_own_name = not (is_many or hive_pair(name) or is_hidden(name))
        around = None if owner is None and has_own_name else here
        is_hidden_one = is_hidden(name) or (name == _METADATA and folder.is_iceberg)
        following.append(_Visit(inner, f"{path}{name}/", around, is_beside or is_hidden_one))
    return following


def _table(folder: Folder, path: str) -> FoundDataset:
    kind: Kind
    if folder.log is not None:
        kind = "delta"
    elif folder.is_iceberg:
        kind = "iceberg"
    elif folder.is_hudi:
        kind = "hudi"
    else:
        kind = _plain_kind(folder)
    return FoundDataset(path, kind, is_ours=folder.is_ours, log=folder.log, has_hint=folder.has_hint)


def _without_table(folder: Folder, path: str, found: dict[str, FoundDataset]) -> FoundDataset:
    """The dataset of a folder in which no table lies around it."""
    return found.setdefault(path, FoundDataset(path, _plain_kind(folder)))


def _plain_kind(folder: Folder) -> Kind:
    return "hive" if any(hive_pair(name) for name in folder.folders) else "files"
