"""`_lake/runs/`: the ingests of a plain table, one small object per run.

The record is the commit of a run: a second ingest with its run key meets it and does nothing, until one of its
partitions expires. The history shows it. A record is outdated when others have replaced all rows of the run, and it is
older than the history.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from tierlake.pipelines.errors import TableUnreadable
from tierlake.pipelines.model.instant import Instant, instant_after
from tierlake.pipelines.runtime.identity import user_and_host
from tierlake.pipelines.runtime.listing import contents
from tierlake.pipelines.tables.runs import run_token
from tierlake.pipelines.tables.snapshot import Commit

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from tierlake.connector.filesystem import LakeFileSystem
    from tierlake.pipelines.model.partition_key import PartitionKey
    from tierlake.pipelines.tables.snapshot import Change, Snapshot

__all__ = ["RunRecords"]

_SLACK = timedelta(seconds=2)
"""A store dates an object by its own clock, in whole seconds."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    run_key: str
    operation: str
    at: Instant
    partitions: tuple[str, ...]
    details: dict[str, Any]


class RunRecords:
    """The run records of one table."""

    def __init__(self, fs: LakeFileSystem, root: str) -> None:
        """Work below `root` (`bucket/prefix`)."""
        self._fs = fs
        self._folder = f"{root}/_lake/runs"

    def has(self, run_key: str) -> bool:
        """Whether a run was committed, and none of its partitions has expired since."""
        return bool(self._fs.exists(self._path(run_key)))

    def write(self, run_key: str, change: Change, at: datetime) -> None:
        """Commit a run, after all of its changes."""
        record = _Record(
            run_key=run_key,
            operation=change.operation,
            at=at,
            partitions=tuple(sorted(str(key) for key in change.touched)),
            details={"by": user_and_host(), **change.details},
        )
        self._fs.pipe_file(self._path(run_key), record.model_dump_json().encode())

    def newest(self, limit: int | None) -> list[Commit]:
        """The newest runs, newest first; reads about as many as the limit."""
        times = sorted(((info["LastModified"], path) for path, info in self._listed().items()), reverse=True)
        if limit is not None and len(times) > limit:
            oldest = times[limit - 1][0] - _SLACK if limit > 0 else times[0][0] + _SLACK
            times = [one for one in times if one[0] >= oldest]
        records = sorted(self._read([path for _, path in times]).values(), key=lambda one: one.at, reverse=True)
        return [Commit(None, one.at, one.operation, one.run_key, one.details) for one in records[:limit]]

    def forget(self, keys: Collection[PartitionKey]) -> None:
        """Forget the runs that wrote any of some partitions, so that the same run keys can fill it again."""
        names = {str(key) for key in keys}
        for path, record in self._read(list(self._listed())).items():
            if names.intersection(record.partitions):
                self._fs.rm_file(path)

    def outdated(self, before: datetime, snapshot: Snapshot) -> list[str]:
        """Outdated records, `bucket/key`: older than an instant, and others have replaced all of the run.

        Args:
            before: The start of the history, by the server's clock.
            snapshot: The live files.
        """
        oldest = {str(key): min(file.modified for file in files) for key, files in snapshot.by_partition().items()}
        old = [path for path, info in self._listed().items() if info["LastModified"] < before]
        outdated: list[str] = []
        for path, record in self._read(old).items():
            end = instant_after(record.at, _SLACK)
            if all(oldest[name] > end for name in record.partitions if name in oldest):
                outdated.append(path)
        return outdated

    def _path(self, run_key: str) -> str:
        return f"{self._folder}/{run_token(run_key)}.json"

    def _listed(self) -> Mapping[str, Mapping[str, Any]]:
        listed: Mapping[str, Mapping[str, Any]] = self._fs.list_fresh(self._folder)
        return listed

    def _read(self, paths: Sequence[str]) -> dict[str, _Record]:
        return {path: _parsed(path, text) for path, text in contents(self._fs, paths).items()}


def _parsed(path: str, data: bytes) -> _Record:
    try:
        return _Record.model_validate_json(data)
    except ValidationError as error:
        reason = error.errors(include_url=False)[0]["msg"]
        raise TableUnreadable(
            f"lake://{path} is no record of a run: {reason}", hint="delete it when you know that nobody needs it"
        ) from error
