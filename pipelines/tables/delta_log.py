"""What deltalake does not tell of a log: which files were taken out, and when.

`vacuum` needs it (deltalake's own takes no clock). Format: the Delta protocol's "Actions" and "Checkpoints".
"""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pyarrow.parquet as pq

from pipelines.tables.protocol import RemovedFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from connector.filesystem import LakeFileSystem

__all__ = ["removed_files"]


def removed_files(fs: LakeFileSystem, root: str) -> list[RemovedFile]:
    """Every tombstone of the table: the last checkpoint's and those of the commits after it.

    A file that was added again later is left out.
    """
    log = f"{root}/_delta_log"
    start, checkpoint = _last_checkpoint(fs, log)
    removed: dict[str, int] = dict(_checkpoint_tombstones(fs, checkpoint)) if checkpoint else {}
    fs.invalidate_cache(log)  # deltalake writes behind fsspec's back
    names = sorted(path for path in fs.find(log) if path.endswith(".json") and path[-25:-5].isdigit())
    for path in names:
        if int(path[-25:-5]) < start:
            continue
        for action in _actions(fs.read_with_etag(path)[0]):
            if (remove := action.get("remove")) is not None:
                removed[unquote(str(remove["path"]))] = int(str(remove.get("deletionTimestamp") or 0))
            elif (add := action.get("add")) is not None:
                removed.pop(unquote(str(add["path"])), None)
    return [
        RemovedFile(path, datetime.fromtimestamp(milliseconds / 1000, UTC)) for path, milliseconds in removed.items()
    ]


def _actions(data: bytes) -> Iterator[dict[str, dict[str, object]]]:
    for line in data.splitlines():
        if line.strip():
            yield json.loads(line)


def _last_checkpoint(fs: LakeFileSystem, log: str) -> tuple[int, list[str]]:
    try:
        pointer = json.loads(fs.read_with_etag(f"{log}/_last_checkpoint")[0])
    except FileNotFoundError:
        return 0, []
    version, parts = int(pointer["version"]), pointer.get("parts")
    if parts is None:
        return version, [f"{log}/{version:020d}.checkpoint.parquet"]
    return version, [f"{log}/{version:020d}.checkpoint.{n:010d}.{parts:010d}.parquet" for n in range(1, parts + 1)]


def _checkpoint_tombstones(fs: LakeFileSystem, paths: list[str]) -> Iterator[tuple[str, int]]:
    for path in paths:
        table = pq.read_table(io.BytesIO(fs.read_with_etag(path)[0]), columns=["remove"])
        for remove in table.column("remove").to_pylist():
            if remove is not None and remove["path"] is not None:
                yield unquote(remove["path"]), remove["deletionTimestamp"] or 0
