"""The schema of a plain table: stored beside the files once it is settled, and that of the newest file before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
from deltalake import Schema
from deltalake.exceptions import DeltaError

from tierlake.connector.errors import ObjectArchived, PreconditionFailed
from tierlake.pipelines.errors import ArchivedError, SourceError
from tierlake.pipelines.model.schema import evolved_schema
from tierlake.pipelines.model.stored_types import ROW_COLUMN, filterable_type
from tierlake.pipelines.runtime.conflicts import attempts
from tierlake.pipelines.tables.live_files import arrow_filesystem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tierlake.connector.filesystem import LakeFileSystem
    from tierlake.pipelines.tables.snapshot import LiveFile

__all__ = ["PlainSchema"]

_MOST_FILES = 5
"""How many of the newest files are read, where others left some that are not Parquet."""


class PlainSchema:
    """The schema of one table."""

    def __init__(self, fs: LakeFileSystem, root: str) -> None:
        """Work below `root` (`bucket/prefix`)."""
        self._fs = fs
        self._root = root
        self._path = f"{root}/_lake/schema.json"

    def read(
        self, files: Sequence[LiveFile], classes: Mapping[str, str], columns: Sequence[str]
    ) -> pa.Schema | ArchivedError | None:
        """The table's schema; see `Snapshot.schema_or_error`.

        Args:
            files: The live files.
            classes: Storage classes by path.
            columns: The partition columns.
        """
        kept = self._kept()
        if kept is not None:
            return kept[0]
        if not files:
            return None
        stored = self._newest(files, classes)
        if isinstance(stored, ArchivedError):
            return stored
        keys = [pa.field(name, pa.string()) for name in columns]
        hidden = {*columns, ROW_COLUMN}
        return pa.schema([*keys, *(field for field in stored if field.name not in hidden)])

    def keep(self, requested: pa.Schema | None) -> None:
        """Record the columns that an ingest adds before a file has them, so that no reader misses one.

        Raises:
            SchemaMismatch: Another writer gave a column a type that does not merge with ours.
            CommitConflict: Others kept changing it.
        """
        if requested is None:
            return
        for attempt in attempts(f"lake://{self._path}", done="nothing was changed"):
            with attempt:
                kept = self._kept()
                merged = requested if kept is None else evolved_schema(kept[0], requested)
                if kept is not None and merged.equals(kept[0]):
                    return
                data = Schema.from_arrow(merged).to_json().encode()
                try:
                    if kept is None:
                        self._fs.put_if(self._path, data, if_none_match=True)
                    else:
                        self._fs.put_if(self._path, data, if_match=kept[1])
                except PreconditionFailed:
                    continue
                return
        raise AssertionError  # the last attempt raises

    def _kept(self) -> tuple[pa.Schema, str] | None:
        """The columns of the stored schema, and its ETag."""
        try:
            data, etag = self._fs.read_with_etag(self._path)
        except FileNotFoundError:
            return None
        try:
            return pa.schema(Schema.from_json(data.decode()).to_arrow()), etag
        except (ValueError, DeltaError) as error:
            raise SourceError(f"lake://{self._path} is no schema: {error}") from error

    def _newest(self, files: Sequence[LiveFile], classes: Mapping[str, str]) -> pa.Schema | ArchivedError:
        """The schema of the newest readable file, or of the next where one is not Parquet."""
        from tierlake.pipelines.parquet.scan import parquet_format

        filesystem = arrow_filesystem(self._fs)
        broken = ""
        archived: list[LiveFile] = []
        newest = sorted(files, key=lambda file: file.modified, reverse=True)
        hidden = [file for file in newest if classes[file.path] in self._fs.profile.archived_classes]
        readable = [file for file in newest if classes[file.path] not in self._fs.profile.archived_classes]
        for file in [*readable[:_MOST_FILES], *hidden[:_MOST_FILES]]:  # one of those may be restored
            fragment = parquet_format().make_fragment(f"{self._root}/{file.path}", filesystem)
            try:
                stored = fragment.physical_schema.remove_metadata()
            except ObjectArchived:
                archived.append(file)
                continue
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                broken = f"lake://{self._root}/{file.path} is not Parquet, or not for pyarrow: {error}"
                continue
            return pa.schema([field.with_type(filterable_type(field.type)) for field in stored])
        if archived and not broken:
            return self._all_archived(archived[0], classes)
        raise SourceError(broken, hint=f"nor are the next of the newest {min(len(newest), _MOST_FILES)} files")

    def _all_archived(self, newest: LiveFile, classes: Mapping[str, str]) -> ArchivedError:
        uri, key = f"lake://{self._root}", str(newest.key)
        message = f"{uri}: no file tells the columns: all are archived in {', '.join(sorted(set(classes.values())))}"
        hint = f"`tierlake restore {uri} {key}` asks for the newest partition, which tells them"
        return ArchivedError(message, hint=hint, keys=(key,))
