"""`_lake/journal/`: what our acts did to a dataset, as one small JSON object per event.

    removal-<id>.json   written before the commit that takes partitions out; undo reads it
    undo-<id>.json      a partition came back
    erase-<id>.json     rows were erased
    tiering-<id>.json   files changed their storage class
    vacuum-<id>.json    files are about to be deleted, or were
    keeping-<id>.json   a hold, a release, a longer retention
    policy-<id>.json    the description changed, or the dataset was dropped
    folded-<month>-….json   old events of a month in one object (`metastore.fold`)

Ids begin with the server's time and never go back, though its clock may: names sort in the order of events, and a
look-up takes one LIST and a few GETs. A removal is written twice: before its commit (a crash in
between harms nothing, the partitions are still live) and again with `committed_at`, from which the grace counts.

While old events are folded, one may be in its own object and in its month's: it counts once, as its own object has it.
A reader that misses an object from its listing lists again: the fold is written before the object is deleted.
"""

from __future__ import annotations

import itertools
import re
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from tierlake.connector.errors import ObjectNotFound, PreconditionFailed
from tierlake.connector.objects.delete import SeenObject
from tierlake.pipelines.errors import PolicyRefused, SpecError
from tierlake.pipelines.metastore.folded import FoldedEvents, folded_name, month_of, place_of
from tierlake.pipelines.metastore.records import (
    KINDS,
    EraseRecord,
    JournalEntry,
    Record,
    RemovalRecord,
    UndoRecord,
    VacuumRecord,
)
from tierlake.pipelines.runtime.identity import user_and_host

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from tierlake.connector.filesystem import LakeFileSystem

__all__ = ["Journal"]

RecordT = TypeVar("RecordT", bound=Record)

_NAME = re.compile(r"(?P<kind>[a-z]+)-(?P<id>(?P<at>\d{8}T\d{6}Z)-(?P<turn>\d{6})-[0-9a-f]{8})\.json")
_DATED = re.compile(r"[a-z]+-\d{8}T\d{6}Z-.*\.json")
_TIME = "%Y%m%dT%H%M%SZ"
_BATCH = 16  # records fetched at once while looking for one
_MONTHS = 6  # likewise of folded events
_LOOKS = 10  # of a reader whom folds overtake
_AFTER_ALL = "9"  # all ids are smaller


@dataclass(frozen=True, slots=True)
class _Listed:
    """One listing of the folder.

    Attributes:
        own: Paths of records that have an object of their own, newest first.
        folded: By month the paths of folded ones.
    """

    own: list[str]
    folded: dict[str, list[str]]


class Journal:
    """Reads and writes the records of one dataset."""

    def __init__(self, fs: LakeFileSystem, root: str) -> None:
        """Work below `root` (`bucket/prefix`) through a filesystem that may write there."""
        self._fs = fs
        self._folder = f"{root}/_lake/journal"

    # -- writing ----------------------------------------------------------------------------------

    def new_id(self, at: datetime) -> str:
        """A name for a record that sorts after all others, even where the server's clock was put back.

        Args:
            at: The server's time, in whole seconds; a counter orders the records of one second.
        """
        stamp, turn = f"{at.astimezone(UTC):{_TIME}}", 0
        newest = next(iter(self._listed().own), None)
        match = _NAME.fullmatch(newest.rpartition("/")[2]) if newest else None
        if match is not None and match["at"] >= stamp:
            stamp, turn = match["at"], int(match["turn"]) + 1
        return f"{stamp}-{turn:06d}-{uuid.uuid4().hex[:8]}"

    def write(self, record: RecordT) -> RecordT:
        """Write a record, or write it again with newer values; returns it signed."""
        signed = record if record.by is not None else record.model_copy(update={"by": user_and_host()})
        self._fs.pipe_file(self._path(signed), _text(signed))
        return signed

    def swap(self, before: Record, after: Record) -> bool:
        """Write a record again, if it is still as `write` returned it; returns whether it was."""
        path = self._path(before)
        try:
            data, etag = self._fs.read_with_etag(path)
            if _parsed(data, path, type(before)) != before:
                return False
            self._fs.put_if(path, _text(after), if_match=etag)
        except (PreconditionFailed, ObjectNotFound):  # without an object of its own it is folded, and never swapped
            return False
        return True

    def _path(self, record: Record) -> str:
        return f"{self._folder}/{record.kind}-{record.id}.json"

    # -- reading ----------------------------------------------------------------------------------

    def records(self, model: type[RecordT], since: str = "") -> Iterator[RecordT]:
        """Records of one kind, newest first, read on demand.

        Args:
            model: Which kind.
            since: Only those with a greater id.

        Raises:
            SpecError: A record that cannot be read.
            PolicyRefused: A record that names files outside the dataset.
        """
        for record in self._stored({model.kind}, since):
            if isinstance(record, model):
                yield record

    def latest_removal(self, key: str, operations: Collection[str] = ("expire", "replace")) -> RemovalRecord | None:
        """The newest removal of a partition.

        Args:
            key: As `ls` prints it.
            operations: Only removals by these.

        Raises:
            SpecError: A record that cannot be read.
            PolicyRefused: A record that names files outside the dataset.
        """
        return next(
            (
                record
                for record in self.records(RemovalRecord)
                if record.operation in operations and record.partition(key) is not None
            ),
            None,
        )

    def undone(self, since: str = "") -> frozenset[tuple[str, str]]:
        """Which partitions came back from which removals: pairs of the removal's id and the key.

        Args:
            since: Id of the oldest removal that matters.

        Raises:
            SpecError: A record that cannot be read.
        """
        return frozenset(
            (record.removal, key)
            for record in self.records(UndoRecord, since)
            if record.state == "done"
            for key in record.keys
        )

    def ended(self, since: str = "") -> frozenset[tuple[str, str]]:
        """What a vacuum has begun to delete: pairs of the removal's id and the key. They can no longer be undone.

        Args:
            since: Id of the oldest removal that matters.

        Raises:
            SpecError: A record that cannot be read.
        """
        return frozenset(
            (removal, key)
            for record in self.records(VacuumRecord, since)
            for removal, keys in record.ended.items()
            for key in keys
        )

    def spoiled(self, since: str = "") -> frozenset[str] | None:
        """Files that hold rows erased since a record: they must not become live again.

        Args:
            since: Id of that record.

        Returns:
            Paths below the root, those of single versions with `?` and the id; None while an erasure is running, or
            after one stopped halfway.

        Raises:
            SpecError: A record that cannot be read.
        """
        records = list(self.records(EraseRecord, since))
        if any(record.state == "begun" for record in records):
            return None
        return frozenset(path for record in records for path in record.spoiled)

    def newest(self) -> str:
        """Id of the newest record, by one LIST; empty where there is none."""
        return _record_id(own[0]) if (own := self._listed().own) else ""

    def entries(self, since: str = "") -> list[JournalEntry]:
        """The journal, newest first.

        Args:
            since: Only records with a greater id; all by default.

        Raises:
            SpecError: A record that cannot be read.
            PolicyRefused: A record that names files outside the dataset.
        """
        return [record.entry() for record in self._stored(KINDS, since)]

    def _stored(self, kinds: Collection[str], since: str) -> Iterator[Record]:
        """Records newest first, whether they are folded or not."""
        below = _AFTER_ALL
        for look in range(1, _LOOKS + 1):
            try:
                for record in self._look(kinds, since, below):
                    below = record.id
                    yield record
            except FileNotFoundError:  # folded since the listing
                if look == _LOOKS:
                    raise
            else:
                return

    def _look(self, kinds: Collection[str], since: str, below: str) -> Iterator[Record]:
        listed = self._listed()
        own = [path for path in listed.own if _kind(path) in kinds and since < _record_id(path) < below]
        by_month = {
            month: list(paths) for month, paths in itertools.groupby(own, lambda one: month_of(_record_id(one)))
        }
        # the newest of all is never folded: where it is read already, all are
        is_new = bool(listed.own) and _record_id(listed.own[0]) > since
        folded = {
            month: paths
            for month, paths in sorted(listed.folded.items(), reverse=True)
            if is_new and month_of(since) <= month <= month_of(below)
        }
        parts = self._months(folded)
        for month in sorted(by_month.keys() | folded.keys(), reverse=True):
            if month not in folded:
                yield from (record for _, record in self.read(by_month[month]))
                continue
            known = {record.id: record for part in next(parts) for record in part.records(kinds)}
            known |= {record.id: record for _, record in self.read(by_month.get(month, ()))}
            yield from (known[name] for name in sorted(known, reverse=True) if since < name < below)

    def _months(self, folded: Mapping[str, Sequence[str]]) -> Iterator[list[FoldedEvents]]:
        """The folded events of each month, some months fetched at once."""
        months = list(folded.values())
        for start in range(0, len(months), _MONTHS):
            batch = months[start : start + _MONTHS]
            texts = self._fs.cat([path for paths in batch for path in paths])
            yield from ([FoldedEvents.parse(path, texts[path]) for path in paths] for paths in batch)

    def read(self, paths: Sequence[str]) -> Iterator[tuple[str, Record]]:
        """Records that have an object of their own, each with its path.

        Raises:
            FileNotFoundError: One of them was folded since it was listed.
            SpecError: One that cannot be read.
            PolicyRefused: One that names files outside the dataset.
        """
        for start in range(0, len(paths), _BATCH):
            batch = paths[start : start + _BATCH]
            texts = self._fs.cat(batch)
            yield from ((path, _parsed(texts[path], path, KINDS[_kind(path) or ""])) for path in batch)

    def _listed(self) -> _Listed:
        """All of the journal; one LIST."""
        return _sorted_out(self._fs.list_fresh(self._folder))

    # -- folding ----------------------------------------------------------------------------------

    def objects(self) -> tuple[list[str], dict[str, list[SeenObject]]]:
        """The journal's objects in the store, by one listing: those of single records, oldest first, and all of them.

        Returns:
            The paths of single records; and by path the versions of each object, the one that readers see last.
        """
        seen: dict[str, list[SeenObject]] = {}
        if self._fs.has_versions(self._folder.partition("/")[0]):
            hidden: set[str] = set()
            for one in reversed(self._fs.object_versions(f"{self._folder}/")):
                seen.setdefault(one.path, []).append(SeenObject(one.path, one.version_id))
                if one.is_latest and one.is_delete_marker:  # somebody deleted it by hand: that is theirs
                    hidden.add(one.path)
            seen = {path: versions for path, versions in seen.items() if path not in hidden}
        else:
            for path, info in self._fs.list_fresh(self._folder).items():
                seen[path] = [SeenObject(path, etag=str(info.get("ETag") or "").strip('"') or None)]
        return _sorted_out(seen).own[::-1], seen

    def folded(self, path: str) -> FoldedEvents:
        """An object of folded events, to be written again by `write_folded`."""
        return FoldedEvents.parse(path, *self._fs.read_with_etag(path))

    def write_folded(self, part: FoldedEvents) -> str:
        """Write folded events, if their object is unchanged since it was read; returns its path.

        Raises:
            PreconditionFailed: Somebody else folds.
        """
        path = f"{self._folder}/{folded_name(part.month, part.number)}"
        if part.etag is None:
            self._fs.put_if(path, part.data, if_none_match=True)
        else:
            self._fs.put_if(path, part.data, if_match=part.etag)
        return path


def _text(record: Record) -> bytes:
    return record.model_dump_json(indent=1, exclude_none=True).encode()


def _sorted_out(paths: Iterable[str]) -> _Listed:
    own: list[str] = []
    folded: dict[str, list[str]] = {}
    for path in paths:
        if not _DATED.fullmatch(path.rpartition("/")[2]):
            continue
        place = place_of(path)
        if place is not None:
            folded.setdefault(place[0], []).append(path)
        elif _kind(path) is not None:
            own.append(path)
        else:
            message = f"lake://{path} is no record that this version of tierlake knows"
            raise SpecError(message, hint="another version wrote it: use that one, or delete it when nobody needs it")
    return _Listed(sorted(own, key=_record_id, reverse=True), folded)


def _kind(path: str) -> str | None:
    match = _NAME.fullmatch(path.rpartition("/")[2])
    return match["kind"] if match is not None and match["kind"] in KINDS else None


def _record_id(path: str) -> str:
    return path.rpartition("/")[2].partition("-")[2].removesuffix(".json")


def _parsed(data: bytes, path: str, model: type[RecordT]) -> RecordT:
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        outside = next((fault for fault in faults if fault["loc"][-1:] == ("path",)), None)
        if outside is not None and outside["type"] == "value_error":
            raise PolicyRefused(
                f"lake://{path}: {outside['msg'].removeprefix('Value error, ')}",
                hint="somebody else wrote this record; delete it when you know that nobody needs it",
            ) from error
        raise SpecError(
            f"lake://{path} is not a record of {model.kind}: {faults[0]['msg']}",
            hint="was it edited by hand?",
        ) from error
