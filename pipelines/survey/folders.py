"""A listing as a tree of folders that stays small: what is alike is summed up as soon as the listing has passed it.

Keys of one folder follow each other in every store's order. So a folder is complete when the first key beyond it comes.
Then a Hive folder (`date=2024-01-05`), or one of many (`2024`, `7f`), joins its like, unless a table lies in it: tables
keep their own folder, whatever its name. What is kept grows with the tables and with the folders that have names of
their own, and of these there is a greatest number, behind which they join too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tierlake.pipelines.costs.amounts import BILLED_LEAST, Amount
from tierlake.pipelines.metastore.inference import WindowEvidence
from tierlake.pipelines.survey.ages import age_step, end_of_window
from tierlake.pipelines.survey.names import (
    HIDDEN,
    MARKER,
    NO_DATA,
    OTHER,
    format_of,
    hive_pair,
    is_hash,
    is_hidden,
    is_one_of_many,
)
from tierlake.pipelines.survey.totals import Totals

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from tierlake.pipelines.survey.totals import Cells

__all__ = ["FOLDERS_MAX", "MANY", "Folder", "FolderTree", "LogFacts"]

FOLDERS_MAX: Final = 5000
"""The largest number of folders that are kept apart."""

MANY: Final = "*/"
"""The folder in which those without a name of their own are summed up: no folder of a store has a slash in its name."""

_CHAINS_MAX: Final = 8
_LOG: Final = "_delta_log"
_LOG_FILE: Final = re.compile(r"(?P<version>\d{20})\.(?:json|(?P<checkpoint>checkpoint\..*parquet|checkpoint\..*json))")
_HUDI: Final = ".hoodie"
_METADATA: Final = "metadata"
_DATA: Final = (".parquet", ".pq")


@dataclass(slots=True)
class LogFacts:
    """What the names in a `_delta_log` tell.

    Attributes:
        newest: The newest commit.
        checkpoint: The newest checkpoint; -1 where there is none.
        checkpoint_bytes: Its size.
    """

    newest: int = -1
    checkpoint: int = -1
    checkpoint_bytes: int = 0

    def add(self, name: str, size: int) -> None:
        """Take note of a file of the log."""
        match = _LOG_FILE.fullmatch(name)
        if match is None:
            return
        version = int(match["version"])
        if not match["checkpoint"]:
            self.newest = max(self.newest, version)
        elif version >= self.checkpoint:
            self.checkpoint_bytes = size + (self.checkpoint_bytes if version == self.checkpoint else 0)
            self.checkpoint = version

    def merge(self, other: LogFacts) -> None:
        """Take note of another part of the log."""
        self.newest = max(self.newest, other.newest)
        if other.checkpoint == self.checkpoint:
            self.checkpoint_bytes += other.checkpoint_bytes
        elif other.checkpoint > self.checkpoint:
            self.checkpoint, self.checkpoint_bytes = other.checkpoint, other.checkpoint_bytes

    @property
    def entries_to_read(self) -> int:
        """The commits after the newest checkpoint."""
        return self.newest - self.checkpoint


@dataclass(slots=True)
class Folder:
    """A folder, or the sum of many alike.

    Attributes:
        name: Its name; for Hive folders `column=*/`, and `*/` for others that are one of many.
        own: The objects in it, not those in its folders.
        folders: The folders in it, by name.
        log: Of a Delta table, whose root it is.
        is_iceberg: It is the root of an Iceberg table.
        has_hint: Of one with `version-hint.text`.
        is_hudi: It is the root of a Hudi table.
        is_ours: It has a description of ours.
        is_folded: Folders with names of their own were summed up, as there were too many.
        has_hashes: A folder in it is named by the first two digits of a hash.
        stems: What the names of Parquet files in it tell, without their suffix; None without any, or in Hive folders.
    """

    name: str
    own: Totals = field(default_factory=Totals)
    folders: dict[str, Folder] = field(default_factory=dict)
    log: LogFacts | None = None
    is_iceberg: bool = False
    has_hint: bool = False
    is_hudi: bool = False
    is_ours: bool = False
    is_folded: bool = False
    has_hashes: bool = False
    stems: WindowEvidence | None = None

    @property
    def is_table(self) -> bool:
        """Whether it is the root of a table of its own."""
        return self.log is not None or self.is_iceberg or self.is_hudi or self.is_ours

    def merge(self, other: Folder) -> int:
        """Take in another folder with all that is in it.

        Returns:
            The number of folders that are in others now, the other one included.
        """
        joined = 0
        pairs = [(self, other)]
        while pairs:
            mine, theirs = pairs.pop()
            mine.merge_own(theirs)
            joined += 1
            for name, folder in theirs.folders.items():
                if name in mine.folders:
                    pairs.append((mine.folders[name], folder))
                else:
                    mine.folders[name] = folder
        return joined

    def merge_own(self, other: Folder) -> None:
        """Take in another folder without the folders that are in it."""
        self.own.merge(other.own)
        if other.log is not None:
            self.log = self.log or LogFacts()
            self.log.merge(other.log)
        self.is_iceberg |= other.is_iceberg
        self.has_hint |= other.has_hint
        self.is_hudi |= other.is_hudi
        self.is_ours |= other.is_ours
        self.is_folded |= other.is_folded
        self.has_hashes |= other.has_hashes
        if other.stems is not None:
            self.stems = self.stems or WindowEvidence()
            self.stems.merge(other.stems)


@dataclass(slots=True)
class _Open:
    """A folder that the listing is in, with what its path tells of its objects."""

    folder: Folder
    segment: str
    pair: tuple[str, str] | None
    has_table: bool = False


class FolderTree:
    """The folders of a listing, built key by key.

    Attributes:
        root: The folder that the listing began in.
        count: Objects so far.
        last_key: The last of them.
        shared: Folders, by path, of which other trees may have a part: they keep their names.
    """

    def __init__(self, now: datetime, steps: tuple[int, ...] = (BILLED_LEAST,), folders_max: int = FOLDERS_MAX) -> None:
        """Begin with an empty folder.

        Args:
            now: Ages are counted up to this.
            steps: The minimum sizes that amounts tell apart.
            folders_max: The largest number of folders to keep apart.
        """
        self.root = Folder("")
        self.count = 0
        self.last_key = ""
        self.shared: frozenset[tuple[str, ...]] = frozenset()
        self._now = now
        self._steps = steps
        self._max = folders_max
        self._kept = 1
        self._open = [_Open(self.root, "", None)]
        self._path: list[str] = []
        self._chain: tuple[str, ...] = ()
        self._windows: list[tuple[str, int]] = []
        self._seconds: dict[int, int] = {}

    def add_page(self, entries: Iterable[Mapping[str, Any]], prefix: str) -> None:
        """Add the objects of a page.

        Args:
            entries: As `fs.object_pages` yields them.
            prefix: What the keys begin with, which is left out.
        """
        skipped = len(prefix)
        for entry in entries:
            key = str(entry["Key"])
            self.add(key[skipped:], int(entry["Size"]), entry.get("StorageClass") or "STANDARD", entry["LastModified"])
            self.last_key = key

    def add(self, key: str, size: int, storage_class: str, modified: datetime) -> None:
        """Add an object; keys come as a store lists them."""
        *path, name = key.split("/")
        if path != self._path:
            self._enter(path)
        self.count += 1
        place = self._open[-1]
        self._mark(name, size)
        own = place.folder.own
        kind = OTHER if size and not name else format_of(name)
        if kind == MARKER:
            own.markers += 1
        of_format = own.formats.setdefault(kind, [0, 0, 0])
        of_format[0] += 1
        of_format[1] += size
        of_format[2] += size < BILLED_LEAST
        if own.first is None or modified < own.first:
            own.first = modified
        if own.last is None or modified > own.last:
            own.last = modified
        if size and not self._chain and name.endswith(_DATA) and kind != HIDDEN:
            place.folder.stems = place.folder.stems or WindowEvidence()
            place.folder.stems.add(name.rpartition(".")[0])
        self._add_to(own.by_change, storage_class, age_step(self._now - modified), size)
        for column, step in self._windows:
            self._add_to(own.by_window.setdefault(column, {}), storage_class, step, size)
        if self._chain and kind not in NO_DATA:
            chains = own.chains
            if self._chain in chains or len(chains) < _CHAINS_MAX:
                chains[self._chain] = chains.get(self._chain, 0) + 1

    def _add_to(self, cells: Cells, storage_class: str, step: int, size: int) -> None:
        amount = cells.get((storage_class, step))
        if amount is None:
            amount = cells[storage_class, step] = Amount(self._steps)
        amount.add(size)

    def close(self) -> Folder:
        """Sum up what is still open, at the end of the listing."""
        self._enter([])
        return self.root

    def _enter(self, path: list[str]) -> None:
        shared = 0
        for one, other in zip(self._path, path, strict=False):
            if one != other:
                break
            shared += 1
        while len(self._open) > shared + 1:
            self._leave()
        for segment in path[shared:]:
            around = self._open[-1].folder
            if segment == _LOG:
                around.log = around.log or LogFacts()
            elif segment == _HUDI:
                around.is_hudi = True
            self._open.append(_Open(Folder(segment), segment, hive_pair(segment)))
        self._path = path
        pairs = [one.pair for one in self._open if one.pair]
        self._chain = tuple(column for column, _ in pairs)
        windows = {column: end for column, value in pairs if (end := end_of_window(value)) is not None}
        self._windows = [(column, age_step(self._now - end)) for column, end in windows.items()]
        own = self._open[-1].folder.own
        for column, end in windows.items():
            own.first_end[column] = min(own.first_end.get(column, end), end)

    def _mark(self, name: str, size: int) -> None:
        """Take note of what marks a table."""
        opened = self._open
        here = opened[-1]
        if here.segment == _LOG:
            log = opened[-2].folder.log
            if log is not None:
                log.add(name, size)
        elif here.segment == _METADATA and name.endswith((".metadata.json", "version-hint.text")):
            root = opened[-2].folder
            root.has_hint |= name == "version-hint.text"
            root.is_iceberg |= name.endswith(".metadata.json")
        elif here.segment == "_lake" and name == "dataset.json":
            opened[-2].folder.is_ours = True

    def _leave(self) -> None:
        """Give the innermost open folder, now complete, to the one around it."""
        done, around = self._open.pop(), self._open[-1]
        folder, pair = done.folder, done.pair
        is_shared = bool(self.shared) and tuple(self._path[: len(self._open)]) in self.shared
        around.folder.has_hashes |= is_hash(done.segment)
        done.has_table |= folder.is_table
        around.has_table |= done.has_table
        if pair is not None:
            evidence = around.folder.own.evidence.setdefault(pair[0], WindowEvidence())
            evidence.add(pair[1])
            if not is_shared and any(kind not in NO_DATA for kind in folder.own.formats):
                folder.own.partitions += 1
        folder.name = name = folder.name if done.has_table or is_shared else self._kept_name(done, around.folder)
        there = around.folder.folders.get(name)
        if there is None:
            around.folder.folders[name] = folder
            self._kept += 1
        else:
            self._kept -= there.merge(folder) - 1

    def _kept_name(self, done: _Open, around: Folder) -> str:
        """The name under which a folder without tables is kept."""
        is_special = is_hidden(done.segment) or done.segment == _METADATA
        if not is_special and done.pair is None and is_one_of_many(done.segment, among_hashes=around.has_hashes):
            return MANY
        name = f"{done.pair[0]}={MANY}" if done.pair else done.segment
        if self._kept >= self._max and name not in around.folders and not (is_special and around.is_table):
            around.is_folded = True
            return MANY
        return name
