"""The files of a table as Arrow opens them: a failure names the file, its problem, and the way out.

The clients below report failures in their own ways, deltalake's with colours and the server's XML. After any of them,
the connector reads a byte of the file: its errors distinguish an archived file, a missing one and a dead server.
"""

from __future__ import annotations

import atexit
import errno
import os
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow.fs import FSSpecHandler, PyFileSystem

from tierlake.connector.client.rust_errors import plain_text
from tierlake.connector.errors import (
    LakeError,
    ObjectArchived,
    ObjectNotFound,
    PreconditionFailed,
    ServerError,
    TableDamaged,
)
from tierlake.connector.observe.edges import left
from tierlake.pipelines.errors import ArchivedError
from tierlake.pipelines.tables.footers import FooterShelf

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping

    import pyarrow.parquet as pq

    from tierlake.connector.filesystem import LakeFileSystem

__all__ = ["FileNames", "NamedFile", "arrow_filesystem", "way_out"]


@dataclass(frozen=True, slots=True)
class FileNames:
    """The names of a table's files in errors.

    Attributes:
        fs: Reads them.
        root: Of the table, `bucket/prefix`.
        keys: The partition of each file, by `bucket/key`.
        version: The version of the log that names them; None where the listing does.
    """

    fs: LakeFileSystem
    root: str
    keys: Mapping[str, Hashable]
    version: int | None = None

    @property
    def is_immutable(self) -> bool:
        """Whether a path names the same bytes for good: not in a plain table, whose files are replaced in place."""
        return self.version is not None

    def failure(self, path: str, error: OSError) -> OSError:
        """The error to raise where reading a file failed.

        It is reported where no verb of ours is around it: a stream is read when its reader wants, in Arrow's threads.

        Args:
            path: `bucket/key`.
            error: The error of the client below.
        """
        reason = self._reason(path, error)
        left("dataset.scan", reason)
        return reason

    def _reason(self, path: str, error: OSError) -> OSError:
        reason: OSError = error
        if error.errno == errno.EBUSY:  # as `FileExpired` has it
            return PreconditionFailed(f"lake://{path} was written anew while it was read", hint="read again")
        if not isinstance(error, LakeError):
            try:
                self.fs.cat_file(path, start=0, end=1)
            except OSError as better:
                reason = better
        if isinstance(reason, ObjectArchived):
            return self._archived(path, reason)
        if isinstance(reason, ObjectNotFound) and reason.key is not None:
            return self._missing(path, reason)
        if isinstance(reason, LakeError) or type(reason).__module__ != "builtins":
            return reason
        text = plain_text(str(reason))
        return ServerError(f"reading lake://{path} failed, and then succeeded: {text}", hint="read again")

    def footers(self, sizes: Mapping[str, int]) -> Mapping[str, pq.FileMetaData]:
        """The footers that are kept beside the table, by `bucket/key`; see `FooterShelf.footers`."""
        if not self.is_immutable:  # none are kept
            return {}
        prefix = f"{self.root}/"
        kept = FooterShelf(self.fs, self.root).footers({path.removeprefix(prefix): sizes[path] for path in sizes})
        return {f"{prefix}{path}": footer for path, footer in kept.items()}

    def _archived(self, path: str, error: ObjectArchived) -> OSError:
        key = self.keys.get(path)
        if key is None:
            return error
        storage_class = self.fs.restore_status(path).storage_class
        uri = f"lake://{self.root}"
        message = f"{uri}: {key} is archived in {storage_class} and cannot be read before it is restored"
        return ArchivedError(message, hint=way_out(uri, str(key)), keys=(str(key),))

    def _missing(self, path: str, error: ObjectNotFound) -> OSError:
        bucket, _, key = path.partition("/")
        context: dict[str, Any] = {"bucket": bucket, "key": key, "request_id": error.request_id}
        if self.version is None:
            message = "the file was listed, and is gone: its partition was replaced or expired meanwhile"
            return ObjectNotFound(message, hint="read again: the listing says what the table is", **context)
        return TableDamaged(
            f"lake://{self.root} names a file in version {self.version} that the store does not have",
            hint=f"`tierlake verify lake://{self.root}` names all such files; vacuum takes those of older versions",
            **context,
        )


def way_out(uri: str, key: str) -> str:
    """How to read an archived partition."""
    return (
        f"ask for them with Dataset.restore({key!r}, days=1) or `tierlake restore {uri} {key}`, or wait for them with "
        "read(..., wait='12h')"
    )


class _OpenFiles:
    """The number of files that Arrow has and its threads will drop.

    A thread of Arrow that waits for Python while the interpreter ends aborts the process: the end waits for them.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew: a forked child has none of Arrow's threads, and another thread may have held the lock."""
        self._changed = threading.Condition()  # its lock is reentrant: a file may be dropped while it is held
        self._count = 0

    def add(self, number: int) -> None:
        """Count files; below zero those that were dropped."""
        with self._changed:
            self._count += number
            self._changed.notify_all()

    def wait(self) -> None:
        """Wait as long as files are being dropped; those of a reader that somebody still holds are not."""
        with self._changed:
            while self._count > 0 and self._changed.wait(_LONGEST_DROP_SECONDS):
                pass


_LONGEST_DROP_SECONDS = 1.0
_open_files = _OpenFiles()
atexit.register(_open_files.wait)
os.register_at_fork(after_in_child=_open_files.forget)


class NamedFile:
    """A file for random reads, as Arrow takes one from Python.

    Arrow drops its files without closing them: the last reference closes this one.
    """

    def __init__(self, file: Any, failure: Callable[[OSError], OSError] | None = None) -> None:
        """Read `file`; errors are raised as `failure` converts them."""
        self._file = file
        self._failure = failure
        _open_files.add(1)

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        with self._naming():
            data: bytes = self._file.read(size)
        return data

    def seek(self, position: int, whence: int = 0) -> int:
        """Move to a position."""
        with self._naming():
            place: int = self._file.seek(position, whence)
        return place

    @contextmanager
    def _naming(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if self._failure is None:
                raise
            raise self._failure(error) from error

    def tell(self) -> int:
        """The position."""
        place: int = self._file.tell()
        return place

    def close(self) -> None:
        """Close the file."""
        if hasattr(self._file, "close"):
            self._file.close()

    def __del__(self) -> None:
        """Release the bytes that were read ahead."""
        try:
            if not self.closed:
                self.close()
        finally:
            _open_files.add(-1)

    @property
    def closed(self) -> bool:
        """Whether the file is closed."""
        return bool(self._file.closed)


class _Files(FSSpecHandler):
    """Opens the files of a commit without a listing, which may be older than the commit."""

    def __init__(self, fs: LakeFileSystem, names: FileNames | None) -> None:
        super().__init__(fs)
        self._names = names

    def open_input_file(self, path: str) -> pa.PythonFile:
        """A file for random reads."""
        try:
            file = self._opened(path)
        except OSError as error:
            if self._names is None:
                raise
            raise self._names.failure(path, error) from error
        failure = None if self._names is None else partial(self._names.failure, path)
        return pa.PythonFile(NamedFile(file, failure), mode="r")

    def _opened(self, path: str) -> Any:
        try:
            return self.fs.open(path, "rb")
        except FileNotFoundError:
            self.fs.invalidate_cache(path)
            return self.fs.open(path, "rb")


def arrow_filesystem(fs: LakeFileSystem, names: FileNames | None = None) -> PyFileSystem:
    """The connector, as Arrow takes a filesystem.

    Args:
        fs: Reads the files.
        names: The names of the files in errors.
    """
    return PyFileSystem(_Files(fs, names))
