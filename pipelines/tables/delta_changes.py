"""When the rows of a Delta table's partitions changed, by its log.

A commit changes rows where it adds or removes a file with `dataChange`; a compaction, by any writer, sets it to false.
A commit's time is that of its object in the store, by the server's clock, and not the time that its writer put into it.

The log forgets commits (after 30 days, by default). Before that, only the files' own times (`modificationTime`) are
left. Ours are the server's, and a compaction keeps the newest of its sources. Others write the time of the object
(Spark) or of their own clock (delta-rs).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from tierlake.pipelines.errors import SpecError
from tierlake.pipelines.model.partition_key import PartitionKey, spelled, typed
from tierlake.pipelines.runtime.clock import end_of
from tierlake.pipelines.runtime.listing import contents
from tierlake.pipelines.tables.log_actions import actions, instant_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    import pyarrow as pa

    from tierlake.connector.filesystem import LakeFileSystem
    from tierlake.pipelines.tables.snapshot import Snapshot

__all__ = ["LogTail", "LoggedChange", "changes_after", "latest_changes"]

_BATCH = 64  # entries fetched at once
_SECOND = timedelta(seconds=1)
_DIGITS = 20


@dataclass(frozen=True, slots=True)
class LoggedChange:
    """One commit.

    Attributes:
        version: The table's version after it.
        at: When it was made, by the server's clock.
        changed: Partitions whose rows it changed; None where that is unknown.
        rewritten: Partitions whose files it replaced by others with the same rows.
        adopts: Whether it made a table of existing files, whose rows date from the writing of the files.
    """

    version: int
    at: datetime
    changed: frozenset[PartitionKey] | None
    rewritten: frozenset[PartitionKey]
    adopts: bool = False


@dataclass(frozen=True, slots=True)
class LogTail:
    """The newest commits of a log without gaps.

    Attributes:
        objects: Path and time of all commits in the log, by version.
        newest: The table's version.
        oldest: The version after which all commits are there.
    """

    objects: Mapping[int, tuple[str, datetime]]
    newest: int
    oldest: int

    @classmethod
    def look(cls, fs: LakeFileSystem, root: str, version: int) -> LogTail:
        """Read a log's listing; one LIST.

        Args:
            fs: The connector.
            root: `bucket/prefix`.
            version: The table's version, read before.
        """
        objects = _commits(fs, root)
        newest = oldest = max([version, *objects])
        while oldest in objects:
            oldest -= 1
        return cls(objects, newest, oldest)

    def oldest_of(self, versions: Iterable[int]) -> int:
        """The oldest version after which all commits are there; the newest version where there is none."""
        return min((one for one in versions if self.oldest <= one <= self.newest), default=self.newest)

    def read(
        self, fs: LakeFileSystem, columns: tuple[str, ...], schema: pa.Schema | None, after: int
    ) -> list[LoggedChange]:
        """The commits after a version, oldest first.

        Args:
            fs: The connector.
            columns: The Hive columns, in order.
            schema: The table's schema, which decides the spelling of partition values.
            after: The version.
        """
        return _read(fs, {one: self.objects[one] for one in range(after + 1, self.newest + 1)}, columns, schema)


def changes_after(
    fs: LakeFileSystem, root: str, columns: tuple[str, ...], schema: pa.Schema | None, since: datetime
) -> tuple[list[LoggedChange], bool]:
    """The commits after an instant that the log remembers, oldest first.

    Args:
        fs: The connector.
        root: `bucket/prefix`.
        columns: The Hive columns, in order.
        schema: The table's schema, which decides the spelling of partition values.
        since: Commits of this instant and older ones are left out.

    Returns:
        The commits, and whether they are complete: False where the log has forgotten some.
    """
    objects = _commits(fs, root)
    chosen = {version: one for version, one in sorted(objects.items()) if one[1] + _SECOND > since}
    commits = _read(fs, chosen, columns, schema)
    is_complete = 0 in objects or len(chosen) < len(objects)
    return commits, is_complete and not any(commit.adopts for commit in commits)


def _commits(fs: LakeFileSystem, root: str) -> dict[int, tuple[str, datetime]]:
    """Path and time of the commits in a log, by version; empty where a checkpoint replaces all."""
    return {
        int(name[-_DIGITS - 5 : -5]): (path, info["LastModified"])
        for path, info in fs.list_fresh(f"{root}/_delta_log").items()
        if (name := path.rpartition("/")[2]).endswith(".json") and name[:-5].isdigit() and len(name) == _DIGITS + 5
    }


def _read(
    fs: LakeFileSystem,
    objects: Mapping[int, tuple[str, datetime]],
    columns: tuple[str, ...],
    schema: pa.Schema | None,
) -> list[LoggedChange]:
    commits: list[LoggedChange] = []
    versions = list(objects)
    for start in range(0, len(versions), _BATCH):
        batch = versions[start : start + _BATCH]
        texts = contents(fs, [objects[version][0] for version in batch])
        for version in batch:
            path, at = objects[version]
            if path in texts:
                commits.append(_logged(path, texts[path], version, at, columns, schema))
            else:  # a clean-up deleted it just now: it may have changed any partition
                commits.append(LoggedChange(version, end_of(at), None, frozenset()))
    return commits


def latest_changes(
    commits: list[LoggedChange],
    *,
    is_complete: bool,
    now: Snapshot,
    keys: Collection[PartitionKey],
    snapshot_of: Callable[[int], Snapshot],
) -> Mapping[PartitionKey, datetime]:
    """When partitions last changed, by the commits after an instant and the files' own times.

    Args:
        commits: As `changes_after` returns them.
        is_complete: As `changes_after` returns it.
        now: The table's present state.
        keys: The partitions in question.
        snapshot_of: Reads the table at a version.
    """
    latest: dict[PartitionKey, datetime] = {}
    for commit in commits:
        latest |= dict.fromkeys(keys if commit.changed is None else commit.changed & set(keys), commit.at)
    left = [key for key in keys if key not in latest]
    if is_complete or not left:
        return latest
    return latest | _by_their_files(commits, now, left, snapshot_of)


def _by_their_files(
    commits: list[LoggedChange], now: Snapshot, keys: Collection[PartitionKey], snapshot_of: Callable[[int], Snapshot]
) -> dict[PartitionKey, datetime]:
    """Times of partitions that no remembered commit changed: those of their files before others compacted them."""
    rewritten = [commit.version for commit in commits if commit.rewritten & set(keys)]
    before = now
    if rewritten and rewritten[0] > 0:
        try:
            before = snapshot_of(rewritten[0] - 1)
        except Exception:  # noqa: BLE001 - the log cannot be read that far back: the present files' times are later ones
            before = now
    current, older = now.by_partition(), before.by_partition()
    times = {
        key: max(file.modified for file in older.get(key) or current[key])
        for key in keys
        if key in older or key in current
    }
    # whatever the writer's clock was, it is not newer than the remembered commits
    latest = min((commit.at for commit in commits), default=None)
    return {key: at if latest is None else min(at, latest) for key, at in times.items()}


def _logged(
    path: str, data: bytes, version: int, modified: datetime, columns: tuple[str, ...], schema: pa.Schema | None
) -> LoggedChange:
    changed: set[PartitionKey] | None = set()
    rewritten: set[PartitionKey] = set()
    written: datetime | None = None
    for action in actions(path, data):
        if info := action.get("commitInfo"):
            if info.get("lake.operation") == "adopt":
                return LoggedChange(version, end_of(modified), frozenset(), frozenset(), adopts=True)
            written = instant_of(info.get("timestamp"))
        file = action.get("add") or action.get("remove")
        if file is None:
            continue
        key = _key(file.get("partitionValues"), columns, schema)
        if not file.get("dataChange", True):
            rewritten |= {key} if key is not None else set()
        elif key is None or changed is None:
            changed = None
        else:
            changed.add(key)
    rows = None if changed is None else frozenset(changed)
    return LoggedChange(version, end_of(modified, written), rows, frozenset(rewritten))


def _key(
    values: Mapping[str, str | None] | None, columns: tuple[str, ...], schema: pa.Schema | None
) -> PartitionKey | None:
    if values is None and columns:
        return None
    known = values or {}
    return PartitionKey.of((name, _spelled(name, known.get(name), schema)) for name in columns)


def _spelled(name: str, text: str | None, schema: pa.Schema | None) -> str:
    """A value as in the keys of live files, in any writer's spelling."""
    if not text or schema is None or name not in schema.names:
        return text or ""
    try:
        return spelled(typed(text, schema.field(name).type).as_py())
    except (SpecError, ValueError, OverflowError):
        return text
