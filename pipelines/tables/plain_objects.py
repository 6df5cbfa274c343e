"""The objects of a plain table, each replaced, emptied and brought back by itself.

Partitions that we write are one object under a stable key. A change names the object by its ETag or version, so that
no other writer's object is lost.
"""

from __future__ import annotations

import io
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import pyarrow.parquet as pq

from tierlake.connector.errors import AccessDenied, ObjectNotFound, PreconditionFailed, UnsupportedByServer
from tierlake.pipelines.errors import CommitConflict, PolicyRefused, UnsupportedByTable
from tierlake.pipelines.runtime.conflicts import attempts
from tierlake.pipelines.runtime.parallel import in_threads
from tierlake.pipelines.runtime.progress import reporting
from tierlake.pipelines.tables.commit_counts import conflicted
from tierlake.pipelines.tables.runs import RUN_METADATA
from tierlake.pipelines.tables.snapshot import LiveFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    import pyarrow as pa

    from tierlake.connector.filesystem import LakeFileSystem
    from tierlake.connector.objects.metadata import ObjectVersion
    from tierlake.pipelines.model.partition_key import PartitionKey
    from tierlake.pipelines.tables.snapshot import StagedFile

__all__ = ["PlainObjects", "each"]

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

_CONCURRENCY = 8
_FORMAT = "parquet"


class PlainObjects:
    """The objects of one table."""

    def __init__(self, fs: LakeFileSystem, root: str) -> None:
        """Work below `root` (`bucket/prefix`)."""
        self._fs = fs
        self._root = root

    # -- looking ------------------------------------------------------------------------------------------------------

    def find(self, path: str, key: PartitionKey, version_id: str | None = None) -> LiveFile | None:
        """An object as it is now, or a version of it, with its identity; None where there is none."""
        try:
            head = self._fs.head_object(f"{self._root}/{path}", version_id)
        except ObjectNotFound:
            return None
        return LiveFile(
            path=path,
            size=int(head["ContentLength"]),
            key=key,
            rows=None,
            modified=head["LastModified"],
            etag=str(head["ETag"]).strip('"'),
            version_id=version_id or (str(head["VersionId"]) if head.get("VersionId") else None),
            run=(head.get("Metadata") or {}).get(RUN_METADATA),
        )

    def identified(self, files: Sequence[LiveFile], *, must_know: bool) -> tuple[LiveFile, ...]:
        """Objects with their versions, where the bucket keeps any; see `Table.identified`."""
        if not files:
            return ()
        nameless: str | None = None
        try:
            if not self._fs.is_versioned(self._root.partition("/")[0]):
                return tuple(files)
            nameless = "null"  # which some servers do not say
        except AccessDenied:
            if must_know:
                raise
        return tuple(each(partial(self._identified, nameless), files))

    def _identified(self, nameless: str | None, file: LiveFile) -> LiveFile:
        there = self.find(file.path, file.key)
        if there is None or there.etag != file.etag:
            raise self._replaced(f"{self._root}/{file.path}")
        return replace(file, version_id=there.version_id or nameless, run=there.run)

    def below(self, file: LiveFile, is_own: Callable[[LiveFile], bool]) -> tuple[LiveFile | None, tuple[LiveFile, ...]]:
        """By the versions of the object; see `Table.below`."""
        if not is_own(file):
            return file, ()
        own = [file]
        for version in self._older(file):
            earlier = None if version.is_delete_marker else self.find(file.path, file.key, version.version_id)
            if earlier is None or not is_own(earlier):
                return earlier, tuple(own)
            own.append(earlier)
        return None, tuple(own)

    def _older(self, file: LiveFile) -> Sequence[ObjectVersion]:
        """The versions older than one of an object, newest first; none without the right to see versions."""
        if file.version_id is None:
            return []
        name = f"{self._root}/{file.path}"
        try:
            versions = [version for version in self._fs.object_versions(name) if version.path == name]
        except AccessDenied:
            return []
        ids = [version.version_id for version in versions]
        return versions[ids.index(file.version_id) + 1 :] if file.version_id in ids else []

    def hidden(self, paths: Sequence[str]) -> dict[str, tuple[str, datetime]]:
        """ETag and time of the objects behind delete markers: both stay when one comes back, though rows change."""
        stored = self._fs.object_versions_many(f"{self._root}/{path}" for path in paths)
        newest = {
            path: next((v for v in versions if v.path == f"{self._root}/{path}" and not v.is_delete_marker), None)
            for path, versions in zip(paths, stored, strict=True)
        }
        return {path: (version.etag, version.modified) for path, version in newest.items() if version is not None}

    # -- changing -----------------------------------------------------------------------------------------------------

    def publish(
        self, staged: StagedFile, path: str, before: LiveFile | None, mark: Mapping[str, str]
    ) -> tuple[LiveFile, LiveFile | None]:
        """Put an object under its partition's key.

        An object that was put there after the snapshot is replaced too: a replace takes what is there at the time.

        Args:
            staged: On disk, or waiting to be copied.
            path: The key, below the root.
            before: The object there in the snapshot.
            mark: Metadata of the object.

        Returns:
            The new object, and the one that it replaced.
        """
        name = f"{self._root}/{path}"
        if staged.waiting is not None:
            return self._publish_anyway(staged, path, mark)
        if staged.local is None:  # pragma: no cover - the writer keeps the spool where writing is publishing
            raise ValueError(path)
        for attempt in attempts(f"lake://{name}", done="it is as others left it"):
            with attempt:
                condition = {"if_none_match": True} if before is None else {"if_match": before.etag}
                try:
                    etag = self._fs.put_file_if(staged.local, name, **condition, metadata=mark)
                except UnsupportedByServer:
                    return self._publish_anyway(staged, path, mark)
                except PreconditionFailed:
                    conflicted(_FORMAT, self._root)
                    before = self.find(path, staged.file.key)
                else:
                    return replace(staged.file, path=path, etag=etag), before
        raise AssertionError  # the last attempt raises

    def _publish_anyway(
        self, staged: StagedFile, path: str, mark: Mapping[str, str]
    ) -> tuple[LiveFile, LiveFile | None]:
        """Put an object by a copy, or one too large for the server's conditions; look up the one that it replaced."""
        name, key = f"{self._root}/{path}", staged.file.key
        before = self.find(path, key)
        if staged.waiting is not None:
            self._fs.cp_file(f"{self._root}/{staged.waiting}", name)
        else:
            self._fs.put_file(staged.local, name, Metadata=dict(mark))
        new = self.find(path, key)
        if new is None:
            raise self._replaced(name)
        older = self._older(new)
        if older:  # an object put there after the snapshot is among them
            below = older[0]
            before = None if below.is_delete_marker else self.find(path, key, below.version_id)
        return replace(staged.file, path=path, etag=new.etag), before

    def empty(self, columns: pa.Schema, file: LiveFile) -> LiveFile | None:
        """Hide the object of a partition without rows; return that object."""
        there: LiveFile | None = file
        for attempt in attempts(f"lake://{self._root}/{file.path}", done="it is as others left it"):
            with attempt:
                if there is None:
                    return None
                try:
                    self.remove_rows(columns, there)
                except CommitConflict:
                    there = self.find(file.path, file.key)
                else:
                    return there
        raise AssertionError  # the last attempt raises

    def swap(self, staged: StagedFile) -> None:
        """Replace an object, if it is still the one that was read."""
        path = f"{self._root}/{staged.file.path}"
        fs = self._fs.for_table(self._root, storage_class=staged.storage_class)
        if staged.local is None or staged.if_match is None:  # pragma: no cover - the caller has both
            raise ValueError(path)
        try:
            fs.put_file_if(staged.local, path, if_match=staged.if_match)
        except (PreconditionFailed, ObjectNotFound) as error:
            raise self._replaced(path) from error

    def remove(self, file: LiveFile) -> None:
        """Hide an object, if it is still the one that was seen."""
        name = f"{self._root}/{file.path}"
        try:
            self._fs.hide(name, etag=file.etag or "", version_id=file.version_id)
        except (PreconditionFailed, ObjectNotFound) as error:
            raise self._replaced(name) from error
        except UnsupportedByServer as error:
            raise self.unsafe(f"lake://{name}", str(error.alternative)) from error

    def remove_rows(self, columns: pa.Schema, file: LiveFile) -> None:
        """Hide an object or its rows, if it is still the one that was seen.

        Where a deletion cannot be conditional, an object without rows replaces it: a PUT can.

        Args:
            columns: The columns of the files.
            file: The object.
        """
        try:
            self.remove(file)
        except UnsupportedByTable:
            data = io.BytesIO()
            pq.write_table(columns.empty_table(), data)
            name = f"{self._root}/{file.path}"
            try:
                self._fs.put_if(name, data.getvalue(), if_match=file.etag)
            except (PreconditionFailed, ObjectNotFound) as error:
                raise self._replaced(name) from error

    def bring_back(self, replaced: Mapping[str, LiveFile], staged: StagedFile) -> None:
        """Bring a version back: from behind its delete marker, or over what replaced it."""
        name, version = f"{self._root}/{staged.file.path}", staged.file.version_id
        gone = f"lake://{name}: no version is left to bring back"
        hint = "the bucket was not versioned, or the grace ended and vacuum deleted it"
        if version is None:
            raise PolicyRefused(gone, hint=hint)
        try:
            if staged.file.path in replaced:
                self._fs.bring_back(name, version_id=version, etag=replaced[staged.file.path].etag or "")
            else:
                self._fs.unhide(name, version_id=version)
        except ObjectNotFound as error:
            raise PolicyRefused(gone, hint=hint) from error
        except PreconditionFailed as error:
            conflicted(_FORMAT, self._root)
            message = f"lake://{name} has been written anew"
            raise CommitConflict(message, hint="it was ingested anew; undo would double its rows") from error

    def unsafe(self, what: str, alternative: str) -> UnsupportedByTable:
        """The error for a deletion that could remove a concurrent ingest."""
        server = self._fs.profile.name
        message = f"{what} could be replaced by an ingest while it is deleted, and {server} has no condition"
        return UnsupportedByTable(f"{message} that would notice", hint=f"use {alternative}")

    def _replaced(self, path: str) -> CommitConflict:
        conflicted(_FORMAT, self._root)
        return CommitConflict(f"lake://{path} was replaced or deleted by another writer meanwhile", hint="run it again")


def each(act: Callable[[ItemT], ResultT], items: Iterable[ItemT]) -> list[ResultT]:
    """Do the work for every item, and then raise the first error."""
    every = list(items)
    with reporting("objects", total=len(every), bytes_total=0) as advance:
        return in_threads(
            act, every, at_once=_CONCURRENCY, name="plain", advance=lambda _: advance("", 0), goes_on=True
        )
