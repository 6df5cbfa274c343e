"""Why a source cannot be read: one line, and what to type instead."""

from __future__ import annotations

import lzma
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import fsspec
import pyarrow as pa
from fsspec.registry import known_implementations

from tierlake.connector.client.library_errors import TRANSPORT_ERRORS
from tierlake.connector.client.unreachable import cause_in
from tierlake.connector.errors import BucketNotFound, LakeError, ObjectNotFound
from tierlake.connector.nearest import did_you_mean
from tierlake.connector.redact import one_line
from tierlake.connector.urls import without_secrets
from tierlake.pipelines.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fsspec.core import OpenFile

__all__ = ["UNREADABLE", "nothing_matches", "unknown_format", "unopened", "unreadable"]

UNREADABLE = (
    OSError,
    ValueError,
    EOFError,
    NotImplementedError,
    OverflowError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    pa.ArrowException,
    *TRANSPORT_ERRORS,
)
"""What readers raise for a file that is damaged, none of its format, or out of reach."""

_SHOWN = 5
_LOOKED_AT = 1000
_TEXT_SHOWN = 300
_PROTOCOLS = ("lake", "s3", "gs", "abfs", "https", "http", "file", "sftp", "ftp", "hdfs", "memory", "github")
_WAYS = {
    "xls": "save it as CSV, or ingest what pandas.read_excel reads",
    "xlsx": "save it as CSV, or ingest what pandas.read_excel reads",
    "txt": "rename it to .csv, or .tsv where tabs separate it",
    "orc": "ingest what pyarrow.orc.read_table reads",
    "xml": "ingest what pandas.read_xml reads",
    "html": "ingest what pandas.read_html reads",
    "pkl": "ingest the frame itself, from Python",
}
"""What to do with files of a format that is not read, by their ending."""


def unreadable(path: str, error: Exception, file: OpenFile | None = None) -> SourceError:
    """The error for a file that cannot be read.

    Args:
        path: For people.
        error: Why.
        file: To look at what is beside it, where it is missing.
    """
    shown = without_secrets(path)
    if file is not None and isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError):
        special = _misplaced(file, error)
        if special is not None:
            return special
    if isinstance(error, LakeError):
        return SourceError(
            f"cannot read {shown}: {error.message}",
            hint=error.hint,
            request_id=error.request_id,
            server_code=error.server_code,
        )
    if isinstance(error, PermissionError) and error.filename is not None:  # the operating system's, not a store's
        return SourceError(f"cannot read {shown}: it may not be read", hint=f"chmod u+r {shown}, or ask its owner")
    cause = cause_in(error) if isinstance(error, (OSError, *TRANSPORT_ERRORS)) else None
    if cause is not None:
        return SourceError(f"cannot read {shown}: {cause}", hint="check the address, and whether its server runs")
    if isinstance(error, (PermissionError, *TRANSPORT_ERRORS)):
        return SourceError(f"cannot read {shown}: {_said(error)}", hint=_credentials_hint(path, file))
    if isinstance(error, EOFError) or "Truncated compressed" in str(error):
        hint = "it may have been copied while it was written: copy it again"
        return SourceError(f"cannot read {shown}: its end is missing", hint=hint)
    if isinstance(error, FileNotFoundError):
        return SourceError(f"cannot read {shown}: it is not there", hint="check the address")
    hint = "it is damaged, or another format than its name says: copy it again, or rename it"
    return SourceError(f"cannot read {shown}: {_said(error)}", hint=hint)


def unopened(path: str, error: Exception) -> SourceError:
    """The error for a path or a URL whose filesystem cannot be had."""
    if isinstance(error, LakeError):
        return unreadable(path, error)
    shown, hint = without_secrets(path), "name a local path, or a URL such as lake://bucket/key or https://host/file"
    if isinstance(error, ImportError):
        package = next((word for word in str(error).split() if word.lower() in _packages()), None)
        hint = f"pip install {package}" if package else "install the Python package of this kind of URL"
    elif "://" in path:
        hint = did_you_mean(path.partition("://")[0], _PROTOCOLS) or hint
    return SourceError(f"cannot open {shown}: {_said(error)}", hint=hint)


def nothing_matches(path: str, storage_options: Any) -> SourceError:
    """The error for a pattern without a match."""
    message = f"nothing matches {without_secrets(path)}"
    try:
        fs, stripped = fsspec.url_to_fs(path, **storage_options)
        folder = stripped[: min(place for mark in "*?[" if (place := stripped.find(mark)) >= 0)].rpartition("/")[0]
        return SourceError(message, hint=_beside(fs, folder, stripped.rpartition("/")[2]))
    except (*UNREADABLE, ImportError):
        return SourceError(message, hint="look what is there, and mind that a shell expands patterns without quotes")


def unknown_format(file: OpenFile, name: str, endings: Sequence[str], compressions: Iterable[str]) -> SourceError:
    """The error for a name that does not tell what is in the file; also where there is no such file.

    Args:
        file: The file, or the archive that has it.
        name: For people; of a member, with its archive.
        endings: Of names that tell.
        compressions: Endings of compressed text.
    """
    special = None if "!" in name else _misplaced(file, None)
    if special is not None:
        return special
    ending = name.rpartition("/")[2].rpartition(".")[2].lower()
    known = f"names end in one of {', '.join(endings)}; text may be compressed ({', '.join(compressions)})"
    hint = _WAYS.get(ending, f"rename it: {known}, and zip archives hold any of them")
    return SourceError(f"cannot tell the format of {without_secrets(name)} by its name", hint=hint)


def _misplaced(file: OpenFile, error: Exception | None) -> SourceError | None:
    """The error for a file that is not there, or is a folder; None where it is a file."""
    fs, path, shown = file.fs, file.path, _shown(file.fs, file.path)
    if isinstance(error, LakeError) and not isinstance(error, ObjectNotFound):
        return None
    if error is not None and cause_in(error) is not None:  # a web server that is not there, to fsspec, is a file too
        return None
    try:
        if fs.isdir(path):
            files = sorted(_names(fs, path))
            hint = f"ingest what is in it: '{shown.rstrip('/')}/*.{_common_ending(files)}'" if files else "it is empty"
            return SourceError(f"{shown} is a folder, not a file", hint=hint)
        if error is None and fs.exists(path):
            return None
        folder, _, name = path.rpartition("/")
        return SourceError(f"there is no file {shown}", hint=_beside(fs, folder, name))
    except (*UNREADABLE, TypeError):  # fsspec's HTTP has no folders
        return None


def _beside(fs: Any, folder: str, name: str) -> str:
    """What to type for a name that is not in a folder: the nearest, or what is there."""
    shown = _shown(fs, folder) if folder else "/"
    try:
        names = sorted(_names(fs, folder))
    except BucketNotFound as error:
        return str(error.hint)
    except FileNotFoundError:
        return f"there is no folder {shown} either: check the path"
    if not names:
        return f"{shown} has no files: check the path"
    near = did_you_mean(name.strip("*?"), names)
    if near is not None:
        return near
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return f"{shown} has {', '.join(names[:_SHOWN])}{more}"


def _shown(fs: Any, path: str) -> str:
    """A path as one types it."""
    is_local = "file" in fs.protocol
    return without_secrets(path if is_local or "://" in path else fs.unstrip_protocol(path))


def _names(fs: Any, folder: str) -> list[str]:
    entries = fs.ls(folder or "/", detail=True)[:_LOOKED_AT]
    return [
        name
        for entry in entries
        if entry["type"] == "file" and not (name := entry["name"].rstrip("/").rpartition("/")[2]).startswith(".")
    ]


def _common_ending(names: Sequence[str]) -> str:
    endings = [name.partition(".")[2] for name in names if "." in name]
    return max(endings, key=endings.count) if endings else "csv"


def _credentials_hint(path: str, file: OpenFile | None) -> str:
    protocols = getattr(getattr(file, "fs", None), "protocol", ())
    if "s3" in protocols:
        return f"write lake://{without_secrets(path)} for tierlake's own settings; s3:// uses the AWS chain alone"
    return "check the address and its credentials: storage_options of `ingest` go to its filesystem"


def _said(error: Exception) -> str:
    return one_line(str(error), _TEXT_SHOWN).rstrip(" .:") or type(error).__name__


def _packages() -> set[str]:
    """Packages that fsspec's texts tell people to install."""
    return {str(one["class"]).partition(".")[0].lower() for one in known_implementations.values()}
