"""The Delta features that we support: tables with others would be written without an error, and read wrongly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tierlake.pipelines.errors import UnsupportedByTable

if TYPE_CHECKING:
    from deltalake import DeltaTable

    from tierlake.pipelines.tables.snapshot import Change

__all__ = ["READER_FEATURES", "WRITER_FEATURES", "check_features", "check_writable"]

READER_FEATURES: Final = frozenset({"timestampNtz"})
WRITER_FEATURES: Final = READER_FEATURES | {"appendOnly", "invariants"}
_PLAIN_READER, _PLAIN_WRITER, _FEATURES_READER, _FEATURES_WRITER = 1, 2, 3, 7


def check_writable(table: DeltaTable, change: Change) -> None:
    """Refuse to commit a change to a table whose features or properties we would not honour.

    Raises:
        UnsupportedByTable: It names them.
    """
    check_features(table, WRITER_FEATURES, "written")
    properties = table.metadata().configuration
    if change.removes and properties.get("delta.appendOnly") == "true":
        message = f"{table.table_uri} is append-only (delta.appendOnly); it cannot be replaced, expired or compacted"
        raise UnsupportedByTable(message, hint="append to it, or set the property to false where it may change")
    named = [
        name
        for name, value in properties.items()
        if name.startswith("delta.constraints.")
        or (name == "delta.columnMapping.mode" and value != "none")
        or (name in {"delta.enableDeletionVectors", "delta.enableChangeDataFeed"} and value == "true")
    ]
    if named:
        message = f"{table.table_uri} uses {', '.join(named)}, which we would not honour: it is not written"
        raise UnsupportedByTable(message, hint="write it with the engine that made it; reading is fine")


def check_features(table: DeltaTable, allowed: frozenset[str], what: str) -> None:
    """Refuse a table that needs more than these features.

    Args:
        table: The table.
        allowed: Names of features.
        what: The purpose for the error: `written`, or how it is read.

    Raises:
        UnsupportedByTable: It names the other features.
    """
    protocol = table.protocol()
    features = {*(protocol.reader_features or ()), *(protocol.writer_features or () if what == "written" else ())}
    unknown = features - allowed
    is_older = protocol.min_reader_version in {_PLAIN_READER, _FEATURES_READER} and (
        what != "written" or protocol.min_writer_version in {1, _PLAIN_WRITER, _FEATURES_WRITER}
    )
    if unknown or not is_older:
        names = ", ".join(sorted(unknown)) or (
            f"reader version {protocol.min_reader_version}, writer version {protocol.min_writer_version}"
        )
        message = f"{table.table_uri} needs the Delta features {names}; it cannot be {what} by this version"
        raise UnsupportedByTable(message, hint="use the engine that made it")
