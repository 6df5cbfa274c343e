"""`_lake/journal/`: what our acts did to a dataset, one small JSON object an event.

    removal-<id>.json   written before the commit that takes partitions out; undo reads it
    undo-<id>.json      a partition came back
    erase-<id>.json     rows were erased
    tiering-<id>.json   files changed their storage class
    vacuum-<id>.json    files are about to be deleted, or were
    keeping-<id>.json   a hold, a release, a longer retention
    policy-<id>.json    the description changed, or the dataset was dropped

Ids begin with the server's time and never go back, though its clock may: names sort in the order of events, and a
question is answered by one LIST and the few GETs it needs. A removal is written twice: before its commit (a crash in
between harms nothing, the partitions are still live) and again with `committed_at`, from where the grace counts.
"""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from tierlake.connector.errors import PreconditionFailed
from tierlake.pipelines.errors import PolicyRefused, SpecError
from tierlake.pipelines.metastore.records import (
    EraseRecord,
    JournalEntry,
    KeepingRecord,
    PolicyRecord,
    Record,
    RemovalRecord,
    TieringRecord,
    UndoRecord,
    VacuumRecord,
)
from tierlake.pipelines.runtime.identity import user_and_host

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from tierlake.connector.filesystem import LakeFileSystem

__all__ = ["Journal"]

RecordT = TypeVar("RecordT", bound=Record)

_KINDS: dict[str, type[Record]] = {
    model.kind: model
    for model in (
        RemovalRecord,
        UndoRecord,
        EraseRecord,
        TieringRecord,
        VacuumRecord,
        KeepingRecord,
        PolicyRecord,
    )
}
_NAME = re.compile(r"(?P<kind>[a-z]+)-(?P<id>(?P<at>\d{8}T\d{6}Z)-(?P<turn>\d{6})-[0-9a-f]{8})\.json")
_DATED = re.compile(r"[a-z]+-\d{8}T\d{6}Z-.*\.json")
_TIME = "%Y%m%dT%H%M%SZ"
_BATCH = 16  # records fetched at once while looking for one


class Journal:
    """Reads and writes the records of one dataset."""

    def __init__(self, fs: LakeFileSystem, root: str) -> None:
        """Work below `root` (`bucket/prefix`) through a filesystem that may write there."""
        self._fs = fs
        self._folder = f"{root}/_lake/journal"

    # -- writing ----------------------------------------------------------------------------------

    def new_id(self, at: datetime) -> str:
        """A name for a record, after all that are there: also where the server's clock was put back.

        Args:
            at: the server's time. It counts whole seconds: turns order the records of one.
        """
        stamp, turn = f"{at.astimezone(UTC):{_TIME}}", 0
        newest = next(iter(self._names()), None)
        match = _NAME.fullmatch(newest.rpartition("/")[2]) if newest else None
        if match is not None and match["at"] >= stamp:
            stamp, turn = match["at"], int(match["turn"]) + 1
        return f"{stamp}-{turn:06d}-{uuid.uuid4().hex[:8]}"

    def write(self, record: RecordT) -> RecordT:
        """Write a record, or write it again with what is known by now; returns it signed."""
        signed = record if record.by is not None else record.model_copy(update={"by": user_and_host()})
        self._fs.pipe_file(self._path(signed), _text(signed))
        return signed

    def swap(self, before: Record, after: Record) -> bool:
        """Write a record again, if it is what `write` returned still; whether that was so."""
        path = self._path(before)
        data, etag = self._fs.read_with_etag(path)
        if _parsed(data, path, type(before)) != before:
            return False
        try:
            self._fs.put_if(path, _text(after), if_match=etag)
        except PreconditionFailed:
            return False
        return True

    def _path(self, record: Record) -> str:
        return f"{self._folder}/{record.kind}-{record.id}.json"

    # -- reading ----------------------------------------------------------------------------------

    def records(self, model: type[RecordT], since: str = "") -> Iterator[RecordT]:
        """Records of one kind, newest first, read as they are asked for.

        Args:
            model: which kind.
            since: only those with a greater id.

        Raises:
            SpecError: a record that cannot be read.
            PolicyRefused: a record that names files outside the dataset.
        """
        paths = [path for path in self._names() if _kind(path) == model.kind and _record_id(path) > since]
        for start in range(0, len(paths), _BATCH):
            batch = paths[start : start + _BATCH]
            texts = self._fs.cat(batch)
            for path in batch:
                yield _parsed(texts[path], path, model)

    def latest_removal(self, key: str, operations: Collection[str] = ("expire", "replace")) -> RemovalRecord | None:
        """The newest removal of a partition.

        Args:
            key: as `ls` prints it.
            operations: only removals by these.

        Raises:
            SpecError: a record that cannot be read.
            PolicyRefused: a record that names files outside the dataset.
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
            since: id of the oldest removal that matters.

        Raises:
            SpecError: a record that cannot be read.
        """
        return frozenset(
            (record.removal, record.key) for record in self.records(UndoRecord, since) if record.state == "done"
        )

    def ended(self, since: str = "") -> frozenset[tuple[str, str]]:
        """What a vacuum has begun to delete: pairs of the removal's id and the key. It can't be undone any more.

        Args:
            since: id of the oldest removal that matters.

        Raises:
            SpecError: a record that cannot be read.
        """
        return frozenset(
            (removal, key)
            for record in self.records(VacuumRecord, since)
            for removal, keys in record.ended.items()
            for key in keys
        )

    def spoiled(self, since: str = "") -> frozenset[str] | None:
        """Files that hold rows which were erased since a record: nobody may make them live again.

        Args:
            since: id of that record.

        Returns:
            Paths below the root, those of single versions with `?` and the id; None while an erasure is at work, or
            where one stopped on its way.

        Raises:
            SpecError: a record that cannot be read.
        """
        records = list(self.records(EraseRecord, since))
        if any(record.state == "begun" for record in records):
            return None
        return frozenset(path for record in records for path in record.spoiled)

    def newest(self) -> str:
        """Id of the newest record, by one LIST; empty where there is none."""
        return _record_id(names[0]) if (names := self._names()) else ""

    def entries(self, since: str = "") -> list[JournalEntry]:
        """The journal, newest first.

        Args:
            since: only records with a greater id; all by default.

        Raises:
            SpecError: a record that cannot be read.
            PolicyRefused: a record that names files outside the dataset.
        """
        names = [path for path in self._names() if _record_id(path) > since]
        entries: list[JournalEntry] = []
        for start in range(0, len(names), _BATCH):
            batch = names[start : start + _BATCH]
            texts = self._fs.cat(batch)
            entries += [_parsed(texts[path], path, _KINDS[_kind(path) or ""]).entry() for path in batch]
        return entries

    def _names(self) -> list[str]:
        """Paths of our records, newest first; one LIST."""
        return _newest_first(self._fs.list_fresh(self._folder))


def _text(record: Record) -> bytes:
    return record.model_dump_json(indent=1, exclude_none=True).encode()


def _newest_first(paths: Iterable[str]) -> list[str]:
    records = [path for path in paths if _DATED.fullmatch(path.rpartition("/")[2])]
    for path in records:
        if _kind(path) is None:
            message = f"lake://{path} is no record that this version of tierlake knows"
            raise SpecError(message, hint="another version wrote it: use that one, or delete it when nobody needs it")
    return sorted(records, key=_record_id, reverse=True)


def _kind(path: str) -> str | None:
    match = _NAME.fullmatch(path.rpartition("/")[2])
    return match["kind"] if match is not None and match["kind"] in _KINDS else None


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
