"""Commits to a Delta log: one conditional PUT each; after a lost race, a check of the newer commits."""

from __future__ import annotations

import math
import re
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from deltalake import CommitProperties, PostCommitHookProperties
from deltalake.exceptions import CommitFailedError, DeltaError

from tierlake.connector.errors import AlreadyExists, LakeError
from tierlake.connector.observe import tracing
from tierlake.pipelines.errors import CommitConflict, CommitUnknown, StagedTooLong
from tierlake.pipelines.model.schema import evolved_schema
from tierlake.pipelines.runtime.clock import time_of_change
from tierlake.pipelines.runtime.conflicts import attempts
from tierlake.pipelines.runtime.identity import user_and_host
from tierlake.pipelines.runtime.listing import listed
from tierlake.pipelines.tables.commit_counts import committed, conflicted
from tierlake.pipelines.tables.delta_commit import (
    add_actions,
    changes_rows,
    commit_metadata,
    commit_of_entry,
    is_spelled_otherwise,
    remove_actions,
    write_entry,
    write_fence,
)
from tierlake.pipelines.tables.delta_features import WRITER_FEATURES, check_features, check_writable
from tierlake.pipelines.tables.delta_files import live_files, snapshot_of
from tierlake.pipelines.tables.delta_look import DeltaLook, is_of_base
from tierlake.pipelines.tables.delta_schema import evolved, first_schema, lacks_entry, mend_log, settles_keys
from tierlake.pipelines.tables.delta_transactions import (
    fence_of,
    has_run,
    is_committed,
    next_fence,
    run_count,
    transactions,
)
from tierlake.pipelines.tables.error_edge import as_lake_error
from tierlake.pipelines.tables.footers import FooterShelf, KeptFooter
from tierlake.pipelines.tables.snapshot import FENCE, ORPHAN_AGE, Commit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import pyarrow as pa
    from deltalake import DeltaTable

    from tierlake.connector.filesystem import LakeFileSystem
    from tierlake.pipelines.tables.snapshot import Change, LiveFile

__all__ = ["DeltaWriter"]

_FORMAT = "delta"
_CHECKPOINT_INTERVAL = 100  # deltalake's own
_COUNT = re.compile(r"[1-9][0-9]{0,8}")
_NAMED_COMMITS = 3
"""The most commits that a conflict names."""


class DeltaWriter:
    """Writes the log of one table."""

    def __init__(self, fs: LakeFileSystem, root: str, open_table: Callable[[], DeltaTable]) -> None:
        """Write below `root` (`bucket/prefix`); `open_table` reads the log afresh."""
        self._fs = fs
        self._root = root
        self._open = open_table
        self._footers = FooterShelf(fs, root)

    def commit(self, change: Change) -> Commit:
        """Write one log entry; see `Table.commit`.

        delta-rs would rebase a stale change by itself and so double rows, leave a late append behind, or name files
        that a vacuum deleted meanwhile. So retries are made here, after a check of the newer commits.
        """
        with self._footers.keeping(change.base.version + 1, _footers_of(change)):
            return self._committed(change)

    def _committed(self, change: Change) -> Commit:
        run_key = change.run_key or uuid.uuid4().hex
        is_blind = not change.removes and change.operation in {"append", "create"}
        tables = self._looks(change)
        for attempt in attempts(f"lake://{self._root}"):
            with attempt:
                table = next(tables)
                check_writable(table, change)
                is_new_key = change.run_key is None and is_of_base(change, table)
                count = None if is_new_key else run_count(table, run_key)
                if is_committed(count):
                    return self._find(table, run_key)
                if not is_blind and table.version() != change.base.version:
                    self._check_untouched(change, table, is_counted=attempt.number > 0)
                self._check_fence(change, table)
                is_first = settles_keys(table, change.schema)
                schema = (
                    first_schema(table, change.schema)
                    if is_first
                    else evolved(self._fs, self._root, table, change.schema)
                )
                if schema is None:
                    continue
                metadata = commit_metadata(change, run_key)
                beside = self._beside(change, table)
                is_timed = changes_rows(change) and bool(change.adds or beside)
                at = time_of_change(self._fs, self._root.partition("/")[0]) if is_timed else None
                counted = transactions(self._fs, self._root, table, change, run_key, count)
                try:
                    if is_spelled_otherwise(change):
                        write_entry(self._fs, self._root, table.version() + 1, change, metadata, counted, at, beside)
                        self._checkpoint_where_due(table)
                    else:
                        tracing.span("deltalake.commit")(table.create_write_transaction)(
                            [*add_actions(change, at, beside), *remove_actions(change)],
                            "overwrite" if is_first else "append",  # the one of its modes that gives a column a type
                            schema,
                            list(table.metadata().partition_columns),
                            commit_properties=CommitProperties(
                                custom_metadata=metadata,
                                max_commit_retries=0,
                                app_transactions=counted,
                            ),
                            # with checkpoints alone, as Spark does it: else deltalake lists the log after each commit
                            post_commithook_properties=PostCommitHookProperties(
                                cleanup_expired_logs=None if _is_checkpoint_due(table) else False
                            ),
                        )
                except (CommitFailedError, AlreadyExists):
                    conflicted(_FORMAT, self._root)
                    continue  # another writer was faster, or the reply was lost: the next read of the log shows it
                except (DeltaError, OSError, LakeError) as error:
                    made = self._in_spite_of(error, change, table, run_key)
                    if made is None:
                        continue
                    committed(_FORMAT, self._root)
                    return made
                committed(_FORMAT, self._root)
                self._fs.invalidate_view(self._root)
                if _is_checkpoint_due(table) or change.operation == "erase":
                    self._fold_footers(table.version() + 1, anew=change.operation == "erase")
                # without delta-rs's own retries the commit is the next version, or none
                return Commit(table.version() + 1, datetime.now(UTC), change.operation, run_key, dict(change.details))
        raise AssertionError  # the last attempt raises

    def _looks(self, change: Change) -> Iterator[DeltaTable]:
        """The table as the base of a change was read from it, then afresh for each further attempt.

        A faster writer has made the version that the first attempt would make.
        """
        look = change.base.opened
        # without files the first rows settle the columns, and an entry of our own is written wherever the log ends
        is_good = bool(change.base.files) and not is_spelled_otherwise(change) and not self._fs.credentials_are_renewed
        if is_good and isinstance(look, DeltaLook) and _keeps_schema(change) and (table := look.claimed()) is not None:
            yield table
        while True:
            yield self._open()

    def fence(self, now: datetime) -> None:
        """Commit an entry without changes that raises the fence; see `Table.fence`."""
        seconds = math.ceil(now.timestamp())
        for attempt in attempts(f"lake://{self._root}", done="nothing was deleted"):
            with attempt:
                table = self._open()
                check_features(table, WRITER_FEATURES, "written")
                transaction = next_fence(table, seconds)
                try:
                    metadata = {"lake.operation": FENCE, "lake.run_key": uuid.uuid4().hex, "lake.by": user_and_host()}
                    write_fence(self._fs, self._root, table.version() + 1, metadata, transaction)
                except AlreadyExists:
                    conflicted(_FORMAT, self._root)
                    continue
                committed(_FORMAT, self._root)
                self._checkpoint_where_due(table)
                return
        raise AssertionError  # the last attempt raises

    def set_properties(self, properties: Mapping[str, str], details: Mapping[str, object]) -> int | None:
        """Commit properties without changing files; see `Table.set_properties`."""
        metadata = {
            "lake.operation": "apply",
            "lake.by": user_and_host(),
            **{f"lake.{name}": value for name, value in details.items()},
        }
        for attempt in attempts(f"lake://{self._root}", done="its properties are as they were"):
            with attempt:
                table = self._open()
                current = table.metadata().configuration
                if all(current.get(name) == value for name, value in properties.items()):
                    return None
                check_features(table, WRITER_FEATURES, "written")
                try:
                    table.alter.set_table_properties(
                        dict(properties),
                        commit_properties=CommitProperties(custom_metadata=metadata, max_commit_retries=0),
                    )
                except CommitFailedError:
                    conflicted(_FORMAT, self._root)
                    continue
                committed(_FORMAT, self._root)
                return table.version()
        raise AssertionError  # the last attempt raises

    def declare(self, schema: pa.Schema) -> None:
        """Add columns to the log's metadata; see `Table.declare`."""
        for attempt in attempts(f"lake://{self._root}", done="no column was added"):
            with attempt:
                if evolved(self._fs, self._root, self._open(), schema) is not None:
                    return
        raise AssertionError  # the last attempt raises

    def _check_fence(self, change: Change, table: DeltaTable) -> None:
        """Refuse files that a vacuum may have deleted since they were written or seen.

        Raises:
            CommitConflict: Look again.
            StagedTooLong: They are so old that a vacuum treats them as orphans.
        """
        if not change.adds:
            return
        fence = change.base.fence if is_of_base(change, table) else fence_of(table)
        if fence in {0, change.fence}:
            return
        if change.operation == "undo":
            raise CommitConflict(f"lake://{self._root}: a vacuum began meanwhile", hint="run it again")
        paths = [staged.file.path for staged in change.adds]
        stored = listed(self._fs, self._root, paths)
        taken_before = datetime.fromtimestamp(fence, UTC) - ORPHAN_AGE
        for path in paths:
            info = stored.get(f"{self._root}/{path}")
            if info is None or info["LastModified"] <= taken_before:
                message = f"lake://{self._root}/{path} waited for its commit for a day, and a vacuum has begun since"
                raise StagedTooLong(message, hint="nothing was committed: run it again, which writes it anew")

    def _beside(self, change: Change, table: DeltaTable) -> tuple[LiveFile, ...]:
        """A live file of each partition that only loses files: its time shows the loss after the log forgets it."""
        losing = {file.key for file in change.removes} - {staged.file.key for staged in change.adds}
        if change.operation != "erase" or not losing:
            return ()
        gone = {file.path for file in change.removes}
        left = [file for file in live_files(table, self._root) if file.path not in gone and file.logged is None]
        return tuple({file.key: file for file in left if file.key in losing}.values())

    def _checkpoint_where_due(self, before: DeltaTable) -> None:
        """Write a checkpoint by deltalake's rule, after a commit that deltalake did not make."""
        if _is_checkpoint_due(before):
            with suppress(DeltaError, OSError, LakeError):  # the commit is made; the next one due makes up for it
                tracing.span("deltalake.checkpoint")(self._open().create_checkpoint)()

    def _fold_footers(self, version: int, *, anew: bool) -> None:
        """Put the footers beside the table together, with each checkpoint of the log and after each erasure."""

        def live() -> dict[str, int]:
            return {file.path: file.size for file in live_files(self._open(), self._root)}

        with suppress(DeltaError, OSError, LakeError):  # a copy: the next checkpoint makes up for it
            self._footers.fold(version, live, anew=anew)

    def _in_spite_of(self, error: Exception, change: Change, table: DeltaTable, run_key: str) -> Commit | None:
        """The commit, where it is there: the reply, or deltalake's work after its commit, may have failed.

        Returns:
            None where a fresh look at the log may help.

        Raises:
            LakeError: The error in our words.
        """
        if isinstance(error, DeltaError) and lacks_entry(error):
            mend_log(self._fs, self._root, table, error)
            return None
        try:
            return self._arrived(change, run_key, error)
        except CommitUnknown:
            raise
        except LakeError:
            if isinstance(error, DeltaError) and is_of_base(change, table):
                return None  # somebody made the log anew since its base was read
            raise

    def _arrived(self, change: Change, run_key: str, error: Exception) -> Commit:
        """The commit whose reply was an error, where the log has it.

        Raises:
            CommitUnknown: The log cannot be read either.
            LakeError: The commit was not made, and why.
        """
        failure = as_lake_error(error, self._root)
        try:
            after = self._open()
            is_made = has_run(after, run_key)
        except (DeltaError, OSError, LakeError) as blind:
            raise CommitUnknown.of(self._root, failure, change.run_key) from blind
        if not is_made:
            raise failure from error
        self._fs.invalidate_view(self._root)
        return self._find(after, run_key)

    def _find(self, table: DeltaTable, run_key: str) -> Commit:
        with suppress(DeltaError, OSError):  # the commit is made: its other content is no reason to fail
            for entry in table.history(50):
                if entry.get("lake.run_key") == run_key:
                    return commit_of_entry(entry)
        return Commit(table.version(), datetime.now(UTC), "unknown", run_key, {})

    def _check_untouched(self, change: Change, table: DeltaTable, *, is_counted: bool) -> None:
        now = snapshot_of(table, self._root)
        before, after = change.base.by_partition(), now.by_partition()
        if change.operation in {"compact", "erase"}:
            # files that others added meanwhile stay beside ours: only our own sources have to be there still
            live = {file.path for file in now.files}
            before, after = {file.key: (file,) for file in change.removes if file.path not in live}, {}
        for key in sorted(change.touched):
            if {file.path for file in before.get(key, ())} != {file.path for file in after.get(key, ())}:
                newer = map(commit_of_entry, table.history(min(table.version() - change.base.version, _NAMED_COMMITS)))
                who = ", ".join(f"version {c.version} ({c.operation}, run {c.run_key})" for c in newer)
                message = (
                    f"lake://{self._root}: partition {key} was changed by {who or 'another writer'} since it was read"
                )
                if not is_counted:
                    conflicted(_FORMAT, self._root)
                raise CommitConflict(message, hint="look at `tierlake history`, then plan or ingest again")


def _footers_of(change: Change) -> list[KeptFooter]:
    return [
        KeptFooter(staged.file.path, staged.file.size, staged.footer)
        for staged in change.adds
        if staged.footer is not None
    ]


def _keeps_schema(change: Change) -> bool:
    """Whether a change leaves the columns of its base as they are."""
    columns = change.base.known_schema
    if columns is None or change.schema is None:
        return columns is not None
    return bool(evolved_schema(columns, change.schema).equals(columns))


def _is_checkpoint_due(before: DeltaTable) -> bool:
    """Whether the next commit is one after which deltalake makes a checkpoint."""
    given = before.metadata().configuration.get("delta.checkpointInterval") or ""
    every = int(given) if _COUNT.fullmatch(given) else _CHECKPOINT_INTERVAL  # anybody may set it to anything
    return (before.version() + 2) % every == 0
