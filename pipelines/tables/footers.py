"""Footers kept beside a table, so that a scan of many files need not ask each of them.

    _lake/footers/<order>-commit-<id>.arrow     of the files that a commit added
    _lake/footers/<order>-fold-<id>.arrow       of the files that were live at a checkpoint of the log

Only files that are too large to be fetched whole have one here. They are a copy of what the files hold, and losing them
is never an error: what is not there, or cannot be read, is read from the files. An entry is believed only of the file
with its path and size, and a committed path names one content for good. So an object whose commit failed does no harm,
and a crash leaves at most that.

<order> decreases with each version: one LIST shows the newest objects first, and what a fold replaces comes after it.
Each object has bounded size, however large the table is: it keeps the footers of the files that come last in the order
of their paths, which in a table of days are the newest ones. What a fold has replaced is deleted by vacuum, once nobody
can be reading it any more. A footer has the smallest and largest values of columns: an erasure folds too.
"""

from __future__ import annotations

import re
import uuid
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.parquet as pq

from tierlake.connector.errors import LakeError
from tierlake.connector.observe import count
from tierlake.pipelines.parquet.footers import WHOLE_BYTES
from tierlake.pipelines.runtime.listing import contents
from tierlake.pipelines.runtime.parallel import ThreadQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from tierlake.connector.filesystem import LakeFileSystem

__all__ = ["FooterShelf", "KeptFooter", "footer_bytes"]

_NEWEST_FIRST: Final = 10**19
_LISTED: Final = 200
"""The most objects that a reader considers: twice the commits between two checkpoints."""
_WORTHWHILE: Final = 2
"""So few files are asked at once, in the time of a listing."""
_MOST_BYTES: Final = 32 << 20
"""The most bytes of footers in an object, before they are compressed."""
_AT_ONCE: Final = 16
"""Objects in memory at once."""
_NAME = re.compile(r"(?P<order>\d{20})-(?P<kind>commit|fold)-[0-9a-f]{32}\.arrow")
_SCHEMA = pa.schema([("path", pa.string()), ("size", pa.int64()), ("footer", pa.large_binary())])
_MAGIC = b"PAR1"


@dataclass(frozen=True, slots=True)
class KeptFooter:
    """A footer of a file.

    Attributes:
        path: The file, below the root.
        size: The file's bytes.
        data: A Parquet file of the footer alone.
    """

    path: str
    size: int
    data: bytes


@dataclass(frozen=True, slots=True)
class _Object:
    """An object of footers, by its name.

    Attributes:
        path: `bucket/key`.
        version: The table's version in its name.
        is_fold: Whether it replaces those that come after it.
    """

    path: str
    version: int
    is_fold: bool


def footer_bytes(footer: pq.FileMetaData, size: int) -> bytes | None:
    """The footer of a file of some size as `KeptFooter` has it; None if nobody needs it apart from the file."""
    if size <= WHOLE_BYTES:
        return None
    sink = pa.BufferOutputStream()
    footer.write_metadata_file(sink)
    data: bytes = sink.getvalue().to_pybytes()
    return data


class FooterShelf:
    """The footers beside one table."""

    def __init__(self, fs: LakeFileSystem, root: str) -> None:
        """Work below `root` (`bucket/prefix`)."""
        self._fs = fs
        self._root = root
        self._folder = f"{root}/_lake/footers"

    # -- writing ------------------------------------------------------------------------------------------------------

    def keep(self, version: int, footers: Iterable[KeptFooter], kind: str = "commit") -> None:
        """Write the footers of a commit's files, by one PUT; nothing where there are none, but for a fold.

        Args:
            version: The version that the commit is about to make.
            footers: The footers.
            kind: What the object is.

        Raises:
            LakeError: The store refuses it; the commit needs none of it.
        """
        kept = _bounded(footers)
        if kept or kind == "fold":  # an empty fold replaces what comes after it all the same
            name = f"{_NEWEST_FIRST - version:020d}-{kind}-{uuid.uuid4().hex}.arrow"
            self._fs.pipe_file(f"{self._folder}/{name}", _packed(kept))

    @contextmanager
    def keeping(self, version: int, footers: Sequence[KeptFooter]) -> Iterator[None]:
        """Write the footers of a commit's files while the commit is made: it takes no longer for them.

        Args:
            version: The version that the commit is about to make.
            footers: The footers.
        """
        if not footers:
            yield
            return
        with ThreadQueue[None](1, "footers") as writing:
            writing.submit(self.keep, version, footers)
            yield
            with suppress(LakeError, OSError):  # a copy: readers ask the files
                writing.results()

    def fold(self, version: int, live: Callable[[], Mapping[str, int]], *, anew: bool = False) -> None:
        """Put the footers of live files together, with a checkpoint of the log.

        Args:
            version: The table's version.
            live: Looks up the size of each live file by its path.
            anew: Also where there is no commit since the last fold.

        Raises:
            LakeError: The store refuses it; what it would have replaced is still there.
        """
        current = self._current()
        if any(anew or not one.is_fold for one in current):
            if current[-1].is_fold and current[-1].version > version:  # the log was lost and made anew
                version = current[0].version + 1
            self.keep(version, self._read(current, live()), "fold")

    # -- reading ------------------------------------------------------------------------------------------------------

    def footers(self, sizes: Mapping[str, int]) -> dict[str, pq.FileMetaData]:
        """The footers of some files, as far as it takes fewer requests than asking the files.

        Args:
            sizes: The size of each file by its path below the root.
        """
        try:
            current = self._current() if len(sizes) > _WORTHWHILE else []
            if not 0 < len(current) < len(sizes):
                return {}
            parsed = {one.path: _parsed(one.data) for one in self._read(current, sizes)}
        except (LakeError, OSError):
            return {}
        footers = {path: footer for path, footer in parsed.items() if footer is not None}
        count("cache_count", len(footers), cache="footer", result="hit")
        count("cache_count", len(sizes) - len(footers), cache="footer", result="miss")
        return footers

    def _current(self) -> list[_Object]:
        """The commits since the newest fold, and that fold; one LIST."""
        current: list[_Object] = []
        for one in _objects(self._fs.first_keys(f"{self._folder}/", limit=_LISTED)):
            current.append(one)
            if one.is_fold:
                break
        return current

    def _read(self, objects: Sequence[_Object], sizes: Mapping[str, int]) -> Iterator[KeptFooter]:
        """The footers of files with these paths and sizes."""
        missing = set(sizes)
        for start in range(0, len(objects), _AT_ONCE):
            batch = objects[start : start + _AT_ONCE]
            texts = contents(self._fs, [one.path for one in batch])
            for one in batch:
                for footer in _unpacked(texts.pop(one.path, b"")):
                    if footer.path in missing and sizes[footer.path] == footer.size:
                        missing.remove(footer.path)
                        yield footer
            if not missing:
                return

    # -- what nobody needs any more -----------------------------------------------------------------------------------

    def outdated(self, before: datetime) -> list[str]:
        """Objects that a fold has replaced, and those beyond the most that are considered, `bucket/key`.

        Args:
            before: A younger one may belong to a running commit, or be read.
        """
        stored = self._fs.list_fresh(self._folder)
        objects = _objects(sorted(stored))
        kept = next((number for number, one in enumerate(objects[:_LISTED], 1) if one.is_fold), _LISTED)
        return [one.path for one in objects[kept:] if stored[one.path]["LastModified"] < before]


def _objects(paths: Iterable[str]) -> list[_Object]:
    """The objects that are named as ours are, in their order."""
    matches = ((path, _NAME.fullmatch(path.rpartition("/")[2])) for path in paths)
    return [
        _Object(path, _NEWEST_FIRST - int(match["order"]), match["kind"] == "fold")
        for path, match in matches
        if match is not None
    ]


def _bounded(footers: Iterable[KeptFooter]) -> list[KeptFooter]:
    kept: list[KeptFooter] = []
    size = 0
    for footer in sorted(footers, key=lambda one: one.path, reverse=True):
        size += len(footer.data)
        if size > _MOST_BYTES:
            break
        kept.append(footer)
    return kept


def _packed(footers: Sequence[KeptFooter]) -> bytes:
    rows = pa.table(
        {
            "path": [one.path for one in footers],
            "size": [one.size for one in footers],
            "footer": [one.data for one in footers],
        },
        schema=_SCHEMA,
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, _SCHEMA, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(rows)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _unpacked(data: bytes) -> Iterator[KeptFooter]:
    """The footers in an object's bytes; none in those of any other."""
    try:
        rows = pa.ipc.open_file(data).read_all()
        rows.validate(full=True)
        if not rows.schema.equals(_SCHEMA):
            return
    except (pa.ArrowException, OSError):
        return
    for path, size, footer in zip(*(rows.column(name) for name in _SCHEMA.names), strict=True):
        if None not in (path.as_py(), size.as_py(), footer.as_py()):
            yield KeptFooter(path.as_py(), size.as_py(), footer.as_py())


def _parsed(data: bytes) -> pq.FileMetaData | None:
    try:
        return pq.read_metadata(pa.BufferReader(data)) if data.startswith(_MAGIC) else None
    except (pa.ArrowException, OSError):
        return None
