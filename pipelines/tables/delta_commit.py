"""The content of a commit to a Delta table: deltalake's actions, or the log entry itself.

A file is removed by its path as the log spells it, and deltalake 1.6 always uses its own spelling: a letter that Spark
leaves as it is (`k=ü`) becomes `k=%C3%BC`, which is another file to every reader. The rows would stay, and rewritten
ones would be there twice. In such cases the entry is written here. Format: the Delta protocol's "Actions".
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from deltalake.transaction import AddAction, RemoveAction

from tierlake.pipelines.runtime.identity import user_and_host
from tierlake.pipelines.tables.log_actions import instant_of
from tierlake.pipelines.tables.snapshot import Commit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deltalake import Transaction

    from tierlake.connector.filesystem import LakeFileSystem
    from tierlake.pipelines.model.partition_key import PartitionKey
    from tierlake.pipelines.tables.snapshot import Change, LiveFile

__all__ = [
    "add_actions",
    "changes_rows",
    "commit_metadata",
    "commit_of_entry",
    "is_spelled_otherwise",
    "remove_actions",
    "spelled_by_deltalake",
    "write_entry",
    "write_fence",
    "write_nothing",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_KEPT = "!$&'()+,-./:;=@_~"


def spelled_by_deltalake(path: str) -> str:
    """A path below the root as deltalake writes it to the log: URL-encoded, except for characters that a test lists."""
    return quote(path, safe=_KEPT)


def is_spelled_otherwise(change: Change) -> bool:
    """Whether the log spells a removed file otherwise than deltalake would."""
    return any(file.logged is not None for file in change.removes)


def add_actions(change: Change, at: datetime | None = None, beside: Sequence[LiveFile] = ()) -> list[AddAction]:
    """The files that become live.

    Args:
        change: Files in, files out.
        at: The present by the server's clock, at which the new files' rows count as changed; None keeps the files'
            times.
        beside: Live files that stay, and whose time is set since rows of their partition were removed.
    """
    files = [(staged.file, _changes_data(change)) for staged in change.adds] + [(file, False) for file in beside]
    return [
        AddAction(
            path=file.path,
            size=file.size,
            partition_values=_values(file.key),
            modification_time=_milliseconds(at or file.modified),
            data_change=changes_data,
            stats=file.stats or "{}",
        )
        for file, changes_data in files
    ]


def remove_actions(change: Change) -> list[RemoveAction]:
    """The files that stop being live."""
    now = _now()
    return [
        RemoveAction(file.path, _changes_data(change), now, file.size, _values(file.key)) for file in change.removes
    ]


def write_entry(
    fs: LakeFileSystem,
    root: str,
    number: int,
    change: Change,
    metadata: Mapping[str, Any],
    transactions: Sequence[Transaction],
    at: datetime | None = None,
    beside: Sequence[LiveFile] = (),
) -> None:
    """Write one entry of the log, with removed paths as the log spells them.

    Args:
        fs: May write below the root.
        root: `bucket/prefix`.
        number: The table's next version.
        change: Files in, files out.
        metadata: JSON values for `commitInfo`.
        transactions: The run keys that it counts.
        at: See `add_actions`.
        beside: See `add_actions`.

    Raises:
        AlreadyExists: Another writer made that version.
    """
    now = _now()
    entry = _heading("WRITE", {"mode": "Append"}, metadata, transactions, now)
    for add in add_actions(change, at, beside):
        described = {
            "path": spelled_by_deltalake(add.path),
            "partitionValues": add.partition_values,
            "size": add.size,
            "modificationTime": add.modification_time,
            "dataChange": add.data_change,
            "stats": add.stats,
        }
        entry.append({"add": described})
    for file in change.removes:
        described = {
            "path": file.logged or spelled_by_deltalake(file.path),
            "deletionTimestamp": now,
            "dataChange": _changes_data(change),
            "extendedFileMetadata": True,
            "partitionValues": _values(file.key),
            "size": file.size,
        }
        entry.append({"remove": described})
    _put(fs, root, number, entry)


def write_fence(
    fs: LakeFileSystem, root: str, number: int, metadata: Mapping[str, Any], transaction: Transaction
) -> None:
    """Write an entry that changes no file, as Spark does before a vacuum; changes planned before it conflict.

    Args:
        fs: May write below the root.
        root: `bucket/prefix`.
        number: The table's next version.
        metadata: JSON values for `commitInfo`.
        transaction: Counts the fences.

    Raises:
        AlreadyExists: Another writer made that version.
    """
    _put(fs, root, number, _heading("VACUUM START", {}, metadata, [transaction], _now()))


def write_nothing(fs: LakeFileSystem, root: str, number: int, metadata: Mapping[str, Any]) -> None:
    """Write an entry that changes nothing at all.

    Args:
        fs: May write below the root.
        root: `bucket/prefix`.
        number: The table's next version.
        metadata: JSON values for `commitInfo`.

    Raises:
        AlreadyExists: Another writer made that version.
    """
    _put(fs, root, number, _heading("WRITE", {"mode": "Append"}, metadata, [], _now()))


def _heading(
    operation: str,
    parameters: Mapping[str, Any],
    metadata: Mapping[str, Any],
    transactions: Sequence[Transaction],
    now: int,
) -> list[dict[str, Any]]:
    info = {"timestamp": now, "operation": operation, "operationParameters": dict(parameters)}
    engine = f"tierlake-{version('tierlake')}"
    entry: list[dict[str, Any]] = [{"commitInfo": {**info, "engineInfo": engine, **metadata}}]
    entry += [{"txn": {"appId": one.app_id, "version": one.version, "lastUpdated": now}} for one in transactions]
    return entry


def _put(fs: LakeFileSystem, root: str, number: int, entry: Sequence[Mapping[str, Any]]) -> None:
    data = "\n".join(json.dumps(action, ensure_ascii=False) for action in entry)
    fs.put_if(f"{root}/_delta_log/{number:020d}.json", data.encode(), if_none_match=True)


def changes_rows(change: Change) -> bool:
    """Whether the change affects rows; adopting existing files does not."""
    return change.operation not in {"adopt", "compact"}


def _changes_data(change: Change) -> bool:
    return change.operation != "compact"


def _milliseconds(at: datetime) -> int:
    """A time in the log's unit, rounded up: a change never looks older than it is."""
    return -(-(at - _EPOCH) // _MILLISECOND)


def _values(key: PartitionKey) -> dict[str, str | None]:
    return {name: value or None for name, value in key.items}


def _now() -> int:
    return int(datetime.now(UTC).timestamp() * 1000)


def commit_metadata(change: Change, run_key: str) -> dict[str, Any]:
    """Our part of `commitInfo`."""
    return {
        "lake.operation": change.operation,
        "lake.run_key": run_key,
        "lake.by": user_and_host(),
        **{f"lake.{name}": value for name, value in change.details.items()},
    }


def commit_of_entry(entry: Mapping[str, Any]) -> Commit:
    """The commit of a `commitInfo`, ours or others'.

    Args:
        entry: The `commitInfo`, with its version. Others leave its time out: then that of its object counts, if the
            caller looks it up (`Table.made_at`), and 1970 if not.
    """
    run_key = entry.get("lake.run_key")
    return Commit(
        version=entry["version"],
        at=instant_of(entry.get("timestamp")) or _EPOCH,
        operation=str(entry.get("lake.operation") or entry.get("operation", "unknown")),
        run_key=None if run_key is None else str(run_key),
        details={
            name.removeprefix("lake."): value
            for name, value in entry.items()
            if name.startswith("lake.") and name not in {"lake.operation", "lake.run_key"}
        },
    )
