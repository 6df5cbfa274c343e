"""Files of a source: paths, URLs and patterns; formats by their names; compression, and archives with all members."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
import pyarrow as pa

from tierlake.connector.urls import without_secrets
from tierlake.pipelines.errors import SourceError
from tierlake.pipelines.model.text_options import TextOptions
from tierlake.pipelines.sources.limits import BoundedBytes, SourceLimits
from tierlake.pipelines.sources.line_ranges import Lines, LinesOf
from tierlake.pipelines.sources.refusals import UNREADABLE, nothing_matches, unknown_format, unopened, unreadable
from tierlake.pipelines.sources.text_format import DEFAULT_DELIMITERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from fsspec.core import OpenFile

__all__ = ["SourceFile", "find_files", "paths_of"]

_TEXT_FORMATS = {"csv": "csv", "tsv": "tsv", "json": "json", "jsonl": "json", "ndjson": "json"}
_BINARY_FORMATS = {"parquet": "parquet", "pq": "parquet", "arrow": "ipc", "feather": "ipc", "ipc": "ipc"}
_FORMATS = {**_TEXT_FORMATS, **_BINARY_FORMATS}
_EXPANDERS: Mapping[str, Callable[[Any], Any]] = {
    "gz": lambda file: gzip.GzipFile(fileobj=file),
    "bz2": bz2.BZ2File,
    "xz": lzma.LZMAFile,
    "zst": lambda file: pa.CompressedInputStream(pa.PythonFile(file, "r"), "zstd"),
}
_ENCRYPTED = 1


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a source.

    Attributes:
        file: Where it is stored; opened when it is read.
        kind: `csv`, `tsv`, `json`, `parquet` or `ipc`.
        limits: What it may be.
        text: How it is written, where it is text.
        compression: The ending that tells it: `gz`, `bz2`, `xz`, `zst`, `zip`; or none.
        member: Of a zip archive.
        lines: A part of it; None means all.
    """

    file: OpenFile
    kind: str
    limits: SourceLimits = field(default_factory=SourceLimits)
    text: TextOptions = field(default_factory=TextOptions)
    compression: str = ""
    member: str = ""
    lines: Lines | None = None

    @property
    def path(self) -> str:
        """For people, and for what is written down: without a user name, a password or a signed query."""
        within = f"!{self.member}" if self.member else ""
        return f"{without_secrets(self.file.path)}{within}{f' (from byte {self.lines.start:,})' if self.lines else ''}"

    @property
    def is_delimited(self) -> bool:
        """Whether it is CSV or TSV."""
        return self.kind in DEFAULT_DELIMITERS

    @property
    def is_cut_by_lines(self) -> bool:
        """Whether each line end in the file is one between rows, and one byte."""
        is_text = self.kind == "json" or (self.is_delimited and not self.limits.newlines_in_values)
        return is_text and not self.compression and not self.text.encoding

    @contextmanager
    def opened(self) -> Iterator[Any]:
        """The file, expanded where it is compressed; for Parquet and IPC it can be sought in.

        Raises:
            SourceError: It cannot be read; also for what is read within.
        """
        try:
            with ExitStack() as stack:
                yield self._opened(stack)
        except SourceError:
            raise
        except UNREADABLE as error:
            raise unreadable(self.path, error, self.file) from error

    def _opened(self, stack: ExitStack) -> Any:
        raw = stack.enter_context(self.file)
        if self.compression == "zip":
            archive = stack.enter_context(zipfile.ZipFile(raw))
            size = archive.getinfo(self.member).compress_size
            member = stack.enter_context(archive.open(self.member))
            return BoundedBytes(self.path, member, lambda: size, self.limits) if self.kind in _TEXT else member
        if self.compression:
            expanded = _EXPANDERS[self.compression](raw)
            stack.callback(expanded.close)
            return BoundedBytes(self.path, expanded, raw.tell, self.limits)
        return LinesOf(raw, self.lines) if self.lines is not None else raw


_TEXT = frozenset(_TEXT_FORMATS.values())


def paths_of(source: object) -> list[str]:
    """The paths, URLs and patterns that a source consists of; none where it is something else."""
    items = source if isinstance(source, list | tuple) else [source]
    return [str(item) for item in items] if all(isinstance(item, str | Path) for item in items) else []


def find_files(
    paths: Sequence[str],
    storage_options: Mapping[str, Any],
    limits: SourceLimits | None = None,
    text: TextOptions | None = None,
) -> list[SourceFile]:
    """The files that paths, URLs and patterns stand for, in order; of zip archives the members.

    Args:
        paths: Of any fsspec filesystem.
        storage_options: Passed to the filesystems of URLs.
        limits: What each file may be.
        text: How text files are written.

    Raises:
        SourceError: Nothing matches, or the name of a file does not tell its format.
    """
    files: list[SourceFile] = []
    for path in paths:
        if not path:
            raise SourceError("a source is empty text, which names no file", hint="name a file, a URL or a pattern")
        options = storage_options if "://" in path else {}
        try:
            opened = fsspec.open_files(path, "rb", **options)
        except (*UNREADABLE, ImportError) as error:
            raise unopened(path, error) from error
        if not opened:
            raise nothing_matches(path, options)
        for file in opened:
            files.extend(_members(file, limits or SourceLimits(), text or TextOptions()))
    return files


def _members(file: OpenFile, limits: SourceLimits, text: TextOptions) -> list[SourceFile]:
    kind, compression = _format_of(file)
    whole = SourceFile(file, kind or "csv", limits, text, compression)
    if compression != "zip":
        return [whole]
    try:
        with file as raw, zipfile.ZipFile(raw) as archive:
            members = [member for member in archive.infolist() if _is_data(member.filename)]
    except UNREADABLE as error:
        raise unreadable(file.path, error, file) from error
    if not members:
        message = f"{without_secrets(file.path)} is an archive without a file"
        raise SourceError(message, hint="pack it again, or ingest the files themselves")
    locked = [member.filename for member in members if member.flag_bits & _ENCRYPTED]
    if locked:
        raise SourceError(
            f"{without_secrets(file.path)}!{locked[0]} is encrypted", hint="unpack the archive, and ingest its files"
        )
    return [_member(whole, member.filename, kind, is_alone=len(members) == 1) for member in members]


def _member(whole: SourceFile, name: str, outer: str, *, is_alone: bool) -> SourceFile:
    ending = name.rpartition("/")[2].lower().rpartition(".")[2]
    kind = _FORMATS.get(ending) or (outer if is_alone else "")
    if not kind:
        raise unknown_format(whole.file, f"{whole.path}!{name}", sorted(_FORMATS), _EXPANDERS)
    return replace(whole, member=name, kind=kind)


def _is_data(name: str) -> bool:
    """Whether a member of an archive is more than a folder or the traces of a desktop."""
    parts = name.split("/")
    return bool(parts[-1]) and not parts[-1].startswith(".") and "__MACOSX" not in parts and parts[-1] != "Thumbs.db"


def _format_of(file: OpenFile) -> tuple[str, str]:
    """Format and compression, by the name; the format of a zip archive may be its members' own."""
    parts = file.path.rpartition("/")[2].lower().split(".")
    if parts[-1] == "zip":
        return _FORMATS.get(parts[-2], "") if len(parts) > 1 else "", "zip"
    if parts[-1] in _EXPANDERS:
        kind, compression = _TEXT_FORMATS.get(parts[-2]) if len(parts) > 1 else None, parts[-1]
    else:
        kind, compression = _FORMATS.get(parts[-1]) if len(parts) > 1 else None, ""
    if kind is None:
        raise unknown_format(file, file.path, sorted(_FORMATS), _EXPANDERS)
    return kind, compression
