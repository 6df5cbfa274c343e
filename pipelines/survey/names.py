"""What names of objects and folders tell: formats, Hive columns, folders of which there are many, and hidden ones."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from tierlake.pipelines.model.partition_key import unescape_value

__all__ = ["HIDDEN", "MARKER", "NO_DATA", "OTHER", "format_of", "hive_pair", "is_hash", "is_hidden", "is_one_of_many"]

HIDDEN: Final = "hidden"
OTHER: Final = "other"
MARKER: Final = "folder marker"
NO_DATA: Final = (HIDDEN, MARKER)
"""The formats that readers of a dataset skip."""

_FORMATS: Final = {
    "parquet": "Parquet",
    "pq": "Parquet",
    "parq": "Parquet",
    "csv": "CSV",
    "tsv": "CSV",
    "json": "JSON",
    "jsonl": "JSON",
    "ndjson": "JSON",
    "avro": "Avro",
    "orc": "ORC",
    "arrow": "Arrow",
    "feather": "Arrow",
    "log": "logs",
    "txt": "text",
    "zip": "archives",
    "tar": "archives",
    "tgz": "archives",
}
_COMPRESSED: Final = ("gz", "zst", "zstd", "bz2", "xz", "snappy", "lz4")
_MANY: Final = re.compile(r"[-_T:.\d]*\d[-_T:.\d]*Z?|[0-9a-fA-F-]{8,}", re.ASCII)
"""Numbers, dates and UUIDs: names of folders that are made by the dozen."""

_HASH: Final = re.compile(r"(?=.*\d)[0-9a-fA-F]{2}", re.ASCII)
_LETTERS: Final = re.compile(r"[a-fA-F]{2}")
"""The first two digits of a hash, or the code of a country or a language."""


@lru_cache(maxsize=1 << 12)
def format_of(name: str) -> str:
    """The format of a file by its name, the last part of the key; a compression's suffix is passed over."""
    if not name:
        return MARKER
    if name.startswith(("_", ".")):
        return HIDDEN
    suffixes = name.lower().split(".")[1:]
    while suffixes and suffixes[-1] in _COMPRESSED:
        suffixes.pop()
    return _FORMATS.get(suffixes[-1], OTHER) if suffixes else OTHER


def hive_pair(folder: str) -> tuple[str, str] | None:
    """Column and value of a folder `column=value`, null as the empty text; None for another folder."""
    name, equals, value = folder.partition("=")
    return (name, unescape_value(value)) if equals and name else None


def is_hidden(folder: str) -> bool:
    """Whether readers of tables skip a folder by its name."""
    return folder.startswith(("_", ".")) and "=" not in folder


def is_hash(folder: str) -> bool:
    """Whether a name is the first two digits of a hash, and no word."""
    return _HASH.fullmatch(folder) is not None


def is_one_of_many(folder: str, *, among_hashes: bool) -> bool:
    """Whether a name says that the folder is one of many alike, such as a day's or a hash's.

    Args:
        folder: The name.
        among_hashes: Whether a folder beside it is named by a hash, so that two letters may be digits of one.
    """
    return (
        _MANY.fullmatch(folder) is not None
        or is_hash(folder)
        or (among_hashes and _LETTERS.fullmatch(folder) is not None)
    )
