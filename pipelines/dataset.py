"""A dataset: the facade over everything in this package.

from tierlake.pipelines import Dataset, DatasetSpec

flights = Dataset.create(DatasetSpec(uri="lake://warehouse/flights", partition={"time": {"column": "time_hour"}}))
flights.ingest("flights.csv")
flights.read(columns=["carrier"], where=[("date", "==", "2013-07-04")])
print(flights.partitions())
print(flights.plan_tiering())
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from tierlake.connector.observe.tracing import span
from tierlake.pipelines.errors import SpecError
from tierlake.pipelines.metastore.opening import check_new, create_dataset, open_dataset
from tierlake.pipelines.model.partition_key import PartitionKey
from tierlake.pipelines.model.selection import Selection
from tierlake.pipelines.model.time_window import as_instant
from tierlake.pipelines.runtime.observed import observed_verbs

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import date, datetime, timedelta
    from pathlib import Path

    import dask.dataframe as dd
    import pandas as pd
    import polars as pl
    import pyarrow as pa
    import pyarrow.dataset as pads

    from tierlake.connector.filesystem import LakeFileSystem
    from tierlake.pipelines.errors import UnknownPartition
    from tierlake.pipelines.ingest.dask_workers import Engine
    from tierlake.pipelines.ingest.rejects import RejectFiles
    from tierlake.pipelines.ingest.results import IngestResult, Rehearsal
    from tierlake.pipelines.ingest.run import IngestMode
    from tierlake.pipelines.ingest.writer import WriterLimits
    from tierlake.pipelines.lifecycle.drop import DropResult, UndropResult
    from tierlake.pipelines.lifecycle.explain import Explanation
    from tierlake.pipelines.lifecycle.figures import Figures
    from tierlake.pipelines.lifecycle.outlook import ExpiryOutlook, Materialized
    from tierlake.pipelines.lifecycle.plan import ApplyResult, ExpiryPlan, TieringPlan, UndoResult
    from tierlake.pipelines.lifecycle.redescribe import SpecChange, SpecDiff
    from tierlake.pipelines.lifecycle.results import KeyChanges, UndoSummary
    from tierlake.pipelines.lifecycle.undo_rows import Undoables, UndoResults
    from tierlake.pipelines.maintenance.compact import CompactResult
    from tierlake.pipelines.maintenance.erase import EraseReport
    from tierlake.pipelines.maintenance.vacuum import VacuumResult
    from tierlake.pipelines.maintenance.verify import VerifyReport
    from tierlake.pipelines.metastore.adoption import AdoptReport
    from tierlake.pipelines.metastore.document import Dropped
    from tierlake.pipelines.metastore.handle import Handle
    from tierlake.pipelines.metastore.history import History
    from tierlake.pipelines.metastore.opening import Described
    from tierlake.pipelines.metastore.records import JournalEntry
    from tierlake.pipelines.model.selection import Keys
    from tierlake.pipelines.model.spec import DatasetSpec
    from tierlake.pipelines.model.text_options import TextOptions
    from tierlake.pipelines.model.time_window import Window
    from tierlake.pipelines.query.catalog import Catalog
    from tierlake.pipelines.query.contents import Contents
    from tierlake.pipelines.query.filters import Where
    from tierlake.pipelines.query.read import Version
    from tierlake.pipelines.query.restore import RestoreResult, Speed, Waiting
    from tierlake.pipelines.runtime.clock import Clock
    from tierlake.pipelines.runtime.progress import Progress
    from tierlake.pipelines.tables.states import RowChanges

__all__ = ["Dataset"]


@observed_verbs
class Dataset:
    """One dataset, written by us or by anybody; `create` and `open` return one."""

    def __init__(self, handle: Handle) -> None:
        """Wrap an open handle; users call `create` or `open`."""
        self._handle = handle

    def __repr__(self) -> str:
        """The URI and the format."""
        return f"Dataset({self.uri!r}, format={self._handle.table.format!r})"

    def _repr_html_(self) -> str:
        from tierlake.pipelines.query.overview import overview

        return overview(self._handle)

    # -- making and opening -------------------------------------------------------------------------------------------

    @classmethod
    def create(
        cls,
        spec: DatasetSpec,
        *,
        schema: pa.Schema | None = None,
        fs: LakeFileSystem | None = None,
        clock: Clock | None = None,
        **storage_options: Any,
    ) -> Self:
        """Make a new dataset in an empty prefix; the same spec again opens the one that is there.

        Args:
            spec: Its description.
            schema: Of the first rows, for a Delta table without partitions whose columns the spec does not declare.
            fs: The connector; made from `storage_options` and the environment by default.
            clock: Whose time counts for grace periods; the server's by default.
            storage_options: Arguments of `LakeFileSystem`.

        Raises:
            TableExists: A dataset with another spec, or any object, is there (`adopt` takes Parquet where it lies), or
                the prefix lies inside another table.
            LogMissing: The dataset is there, without its log.
            EncryptionIgnored: The server stored a file without the requested encryption.
            UnsupportedByServer: The storage class or the encryption does not exist on this server.
        """
        return cls(create_dataset(spec, fs, clock, storage_options, schema))

    @classmethod
    def check_new(cls, spec: DatasetSpec, *, fs: LakeFileSystem | None = None, **storage_options: Any) -> bool:
        """Make the checks of `create`, and write nothing.

        Returns:
            True where `create` would make a dataset, False where the same one is there.

        Raises:
            TableExists: A dataset with another spec, or any object, is there, or the prefix lies inside another table.
            LogMissing: The dataset is there, without its log.
            UnsupportedByServer: The storage class or the encryption does not exist on this server.
        """
        return check_new(spec, fs, storage_options)

    @classmethod
    def open(
        cls,
        dataset: str | Path | DatasetSpec,
        *,
        spec: Described | None = None,
        fs: LakeFileSystem | None = None,
        clock: Clock | None = None,
        **storage_options: Any,
    ) -> Self:
        """Open what is there: a dataset of ours, anybody's Delta table, or a prefix of Parquet.

        A prefix is partitioned by its Hive folders (`date=2013-07-04/`) or, as Dagster's own file IO managers write, by
        the names of its files (`2013-07-04.parquet`): then the column is `partition` until a spec names it.

        Args:
            dataset: The URI, a YAML file, or a spec.
            spec: Tiers, retention and more of a table that has no description of ours: a spec, a YAML file, or a
                mapping with some of a spec's fields. It is not written to the table; `adopt` does that.

                Where the dataset has a description, `spec` must agree with it: a mapping in the fields that it has, a
                file or spec in all fields. A field left out of those means its default, except for format and
                partitioning.
            fs: The connector; made from `storage_options` and the environment by default.
            clock: Whose time counts for grace periods; the server's by default.
            storage_options: Arguments of `LakeFileSystem`.

        Raises:
            TableNotFound: Nothing there.
            LogMissing: A Delta dataset whose log is gone.
            UnsupportedByTable: A folder of another table.
            SpecDiffers: `spec` differs from the stored description; `diff` and `apply_spec` change the stored one.
            SpecError: The spec contradicts what is there.
        """
        return cls(open_dataset(dataset, spec, fs, clock, storage_options))

    @classmethod
    def adopt(
        cls,
        uri: str,
        spec: Described | None = None,
        *,
        dry_run: bool = True,
        fs: LakeFileSystem | None = None,
        clock: Clock | None = None,
        **storage_options: Any,
    ) -> AdoptReport:
        """Turn files that others wrote into a dataset in place, or report what that would do; no data is rewritten.

        Args:
            uri: A Hive prefix of Parquet, which becomes a Delta table, or a Delta table, which gets our description.
            spec: Tiers, retention and more: a spec, a YAML file, or some of a spec's fields.
            dry_run: Only look; False adopts the files.
            fs: The connector; made from `storage_options` and the environment by default.
            clock: Whose time counts; the server's by default.
            storage_options: Arguments of `LakeFileSystem`.

        Raises:
            TableNotFound: Nothing there.
            TableExists: It lies inside another table.
            UnsupportedByTable: Another table lies below.
            SchemaMismatch: The files' schemas do not merge.
        """
        from tierlake.pipelines.metastore.adoption import adopt

        return adopt(uri, spec, dry_run=dry_run, fs=fs, clock=clock, options=storage_options)

    @property
    def uri(self) -> str:
        """`lake://bucket/prefix`."""
        return self._handle.spec.uri

    @property
    def spec(self) -> DatasetSpec:
        """The description that is stored with the dataset, or what its files tell."""
        return self._handle.spec

    @property
    def is_described(self) -> bool:
        """Whether a description of ours is stored with it; else `spec` is what its files tell."""
        return self._handle.document is not None

    @property
    def format(self) -> str:
        """`delta` or `parquet`."""
        return self._handle.table.format

    @property
    def version(self) -> int:
        """The table's version now; 0 for plain Parquet."""
        return self._handle.table.snapshot().version

    @property
    def schema(self) -> pa.Schema:
        """The table's columns, partition columns included.

        Raises:
            ArchivedError: The table has no description, and all files that could show its columns are archived.
        """
        import pyarrow as pa

        return self._handle.table.snapshot().schema or pa.schema([])

    @property
    def fs(self) -> LakeFileSystem:
        """The filesystem that may write below this table. Writes that bypass the table are at the caller's risk."""
        return self._handle.fs

    # -- rows in and out ----------------------------------------------------------------------------------------------

    def ingest(  # noqa: PLR0913 - the user's own options
        self,
        source: object,
        mode: IngestMode = "replace",
        run_key: str | None = None,
        *,
        keys: Sequence[str | PartitionKey] | None = None,
        details: Mapping[str, object] | None = None,
        limits: WriterLimits | None = None,
        storage_options: Mapping[str, object] | None = None,
        unique_by: Sequence[str] = (),
        text: TextOptions | Mapping[str, Any] | None = None,
        engine: Engine = "local",
        client: Any = None,
        progress: Progress = False,
    ) -> IngestResult:
        """Write rows and commit them; see `tierlake.pipelines.ingest.run.ingest` for the arguments and errors.

        Args:
            source: Path or URL (CSV, JSON Lines, Parquet, Arrow IPC), frame, Arrow table, reader, dataset or iterable;
                for Dask paths, URLs or a Dask DataFrame.
            mode: `replace` the partitions that the source touches, or `append` to them.
            run_key: Identity of the run; the same again commits nothing.
            keys: The partitions that the source covers; those without rows are emptied.
            details: More JSON values for the commit's metadata, such as a run id.
            limits: Bounds on memory and concurrency, of each process.
            storage_options: For a source path.
            unique_by: Keep the last of the source's rows in one partition that are equal in these columns.
            text: How text files are written: delimiter, quote, decimal, encoding, nulls, header; what it leaves out is
                sniffed. By default what the spec's `text` says.
            engine: `dask`: workers read and write files; the commit is made here, once.
            client: The Dask client; the current one by default.
            progress: A bar with rows read, or a function that is called with each step.
        """
        from tierlake.pipelines.ingest.dask_workers import Workers
        from tierlake.pipelines.ingest.run import ingest
        from tierlake.pipelines.runtime.progress import counting

        workers = Workers.of(engine, client)
        with counting("ingest", progress=progress) as on_rows:
            return ingest(
                self._handle,
                source,
                mode=mode,
                run_key=run_key,
                keys=_parsed(keys),
                details=details,
                limits=limits,
                storage_options=storage_options,
                unique_by=unique_by,
                text=_text_options(text),
                workers=workers,
                on_rows=on_rows,
            )

    def rehearse(
        self,
        source: object,
        mode: IngestMode = "replace",
        run_key: str | None = None,
        *,
        storage_options: Mapping[str, object] | None = None,
        text: TextOptions | Mapping[str, Any] | None = None,
    ) -> Rehearsal:
        """What `ingest` would do with a source, with all of its checks; nothing is written."""
        from tierlake.pipelines.ingest.run import rehearse

        options = _text_options(text)
        return rehearse(self._handle, source, storage_options, mode=mode, run_key=run_key, text=options)

    def rejects(self) -> RejectFiles:
        """Files of rejected rows that wait to be corrected, with counts and reasons, newest first."""
        from tierlake.pipelines.ingest.rejects import list_rejects

        return list_rejects(self._handle.fs, self._handle.table.root)

    def rejected_rows(self, path: str) -> pa.Table:
        """The rows of a reject file, as they came, with file, line, column, value and reason of each."""
        from tierlake.pipelines.ingest.rejects_retry import read_reject_file

        return read_reject_file(self._handle, path)

    def rejects_as_csv(self, path: str) -> bytes:
        """The rows of a reject file as CSV to be mended; see `tierlake.pipelines.ingest.rejects_csv.as_csv`."""
        from tierlake.pipelines.ingest.preparation import data_schema
        from tierlake.pipelines.ingest.rejects_csv import as_csv

        return as_csv(self.rejected_rows(path), self.spec.text, data_schema(self._handle))

    def ingest_rejects(
        self,
        path: str,
        fix: Callable[[pa.Table], object] | None = None,
        *,
        mode: IngestMode = "append",
        text: TextOptions | None = None,
    ) -> IngestResult:
        """Correct the rows of a reject file and ingest them; see `pipelines.ingest.rejects_retry.ingest_rejects`."""
        from tierlake.pipelines.ingest.rejects_retry import ingest_rejects

        return ingest_rejects(self._handle, path, fix, mode=mode, text=text)

    def rehearse_rejects(
        self,
        path: str,
        fix: Callable[[pa.Table], object] | None = None,
        *,
        mode: IngestMode = "append",
        text: TextOptions | None = None,
    ) -> Rehearsal:
        """What `ingest_rejects` would do; nothing is written."""
        from tierlake.pipelines.ingest.rejects_retry import rehearse_rejects

        return rehearse_rejects(self._handle, path, fix, mode=mode, text=text)

    def scan(self, version: Version = None, *, keys: Keys | None = None) -> pads.Dataset:
        """The whole table, or some partitions, as a lazy `pyarrow.dataset.Dataset`.

        Args:
            version: An older version of a Delta table, or an instant: the version that was the newest then.
            keys: Only these partitions, as far as that version has them; a range or a pattern must match.
        """
        from tierlake.pipelines.query.read import scan

        return scan(self._handle, version, self._some(keys, version))

    def read(
        self,
        columns: Sequence[str] | None = None,
        where: Where | None = None,
        version: Version = None,
        *,
        wait: timedelta | str | None = None,
        keys: Keys | None = None,
    ) -> pa.Table:
        """Rows in memory; see `tierlake.pipelines.query.read.read`."""
        from tierlake.pipelines.query.read import read

        return read(self._handle, columns, where, version, wait, self._some(keys, version))

    def to_pandas(
        self,
        columns: Sequence[str] | None = None,
        where: Where | None = None,
        version: Version = None,
        *,
        wait: timedelta | str | None = None,
        keys: Keys | None = None,
    ) -> pd.DataFrame:
        """Rows as a pandas frame; the same arguments as `read`.

        Integers beside nulls come as floats, as pyarrow has it, where these hold each of them exactly, and as pandas'
        nullable integers where they do not.
        """
        from tierlake.pipelines.query.read import pandas_frame

        return pandas_frame(self.read(columns, where, version, wait=wait, keys=keys))

    def to_polars(
        self,
        columns: Sequence[str] | None = None,
        where: Where | None = None,
        version: Version = None,
        *,
        wait: timedelta | str | None = None,
        keys: Keys | None = None,
    ) -> pl.DataFrame:
        """Rows as a polars frame; the same arguments as `read`."""
        from tierlake.pipelines.query.read import polars_frame

        return polars_frame(self.read(columns, where, version, wait=wait, keys=keys))

    def to_reader(self, columns: Sequence[str] | None = None, *, keys: Keys | None = None) -> pa.RecordBatchReader:
        """Rows as a stream of record batches, read on demand; see `read` for the arguments."""
        from tierlake.pipelines.query.read import reader

        return reader(self._handle, columns, self._some(keys))

    def to_lazy(self, columns: Sequence[str] | None = None, *, keys: Keys | None = None) -> pl.LazyFrame:
        """Rows as a lazy polars frame, read when it is collected; see `read` for the arguments."""
        from tierlake.pipelines.query.read import lazy_frame

        return lazy_frame(self._handle, columns, self._some(keys))

    def to_dask(
        self,
        columns: Sequence[str] | None = None,
        where: Where | None = None,
        version: Version = None,
        *,
        keys: Keys | None = None,
    ) -> dd.DataFrame:
        """Rows as a lazy Dask frame, read when it is computed; see `tierlake.pipelines.query.dask_frames.to_dask`."""
        from tierlake.pipelines.query.dask_frames import to_dask

        frame: dd.DataFrame = to_dask(self._handle, columns, where, version, self._some(keys, version))
        return frame

    # -- looking ------------------------------------------------------------------------------------------------------

    def partitions(self, as_of: datetime | date | str | None = None, *, keys: Keys | None = None) -> Catalog:
        """The catalog: key, rows, files, bytes, storage class, tier, age and cost of every partition.

        Args:
            as_of: The instant that ages count to; now by default.
            keys: Only these partitions; None means all. Exact keys count where they are there, a range or a pattern
                must match.
        """
        from tierlake.pipelines.query.catalog import read_catalog

        return read_catalog(self._handle, self._instant(as_of), self._some(keys))

    def key_faults(self, keys: Iterable[PartitionKey]) -> dict[PartitionKey, UnknownPartition]:
        """The error for each key that no partition can have.

        Such a key has other columns, a value that does not fit its column, or another spelling.
        """
        from tierlake.pipelines.tables.requested_keys import faults

        snapshot = self._handle.table.snapshot()
        return faults(self.spec, snapshot.known_schema, keys, snapshot.by_partition())

    def had_rows(self, keys: Iterable[str | PartitionKey]) -> frozenset[PartitionKey]:
        """Which of these partitions had rows once and lost them, as far as the journal and the table remember."""
        from tierlake.pipelines.query.contents import had_rows

        return had_rows(self._handle, _parsed(keys) or ())

    def contents(self) -> Contents:
        """What is in the table now, by its own metadata: where it has a log, the store is not listed."""
        from tierlake.pipelines.query.contents import read_contents

        return read_contents(self._handle)

    def why_gone(self, keys: Iterable[str | PartitionKey]) -> dict[PartitionKey, str]:
        """What removed each absent partition, in words. Partitions that never existed are left out.

        Args:
            keys: Partitions.
        """
        from tierlake.pipelines.query.contents import why_gone

        return why_gone(self._handle, _parsed(keys) or ())

    def now(self) -> datetime:
        """The server's clock, to the second."""
        return self._handle.clock.now()

    def one_look(self) -> AbstractContextManager[None]:
        """Within this context, all reads of this thread see the table at one moment, and its log is opened once.

        Writes, and the reads that they need, look afresh.
        """
        return self._handle.table.one_look()

    def state(self, version: int | None = None) -> str:
        """Names the table's present state, for `changed_since` and `changed_after`.

        For a Delta table it is the id and version, by one read of the log. For a plain table it is the server's second,
        with a digest of each object whose rows changed in that second, by one listing.

        Args:
            version: Name the state after this version of a Delta table instead; a commit's result has the version.
        """
        return self._handle.table.state(version)

    def changed_since(self, states: Collection[str]) -> RowChanges:
        """Which partitions' rows have changed since states; compaction, tiering and restores change none.

            changes = flights.changed_since([before, then])
            changes.is_changed(key, then)    # True, False, or None where the table cannot tell
            changes.after(before)            # the same as changed_after(before)

        For a Delta table, the commits after the oldest state are read once, as far as the log remembers. A plain table
        is listed once.

        Args:
            states: What `state` returned then.
        """
        return self._handle.table.changes_since(states)

    def changed_after(self, state: str) -> Mapping[PartitionKey, str] | None:
        """Partitions whose rows have changed since a state; compaction, tiering and restores change none.

        Args:
            state: What `state` returned then.

        Returns:
            Each with the state after the last commit that changed it. Partitions that left a Delta table are included;
            a plain table does not show them. None where the table cannot tell: its log has forgotten the state, or the
            state is of another table.
        """
        return self.changed_since([state]).after(state)

    def windows(self) -> dict[PartitionKey, Window | None]:
        """The partitions by key, in order, each with the time that it covers, if any.

        Faster than `partitions`: where the table has a log, the store is not listed.
        """
        from tierlake.pipelines.model.age import window_of_key

        return {key: window_of_key(self.spec, key) for key in self._handle.table.snapshot().by_partition()}

    def expiry_outlook(
        self,
        as_of: datetime | date | str | None = None,
        materialized: Materialized | None = None,
        empty: Iterable[str | PartitionKey] = (),
    ) -> ExpiryOutlook:
        """What is past its retention, what is kept though it is, and what comes due next.

        The answer of `plan_expiry` without files, places and costs: where the table has a log, the store is not listed.

        Args:
            as_of: The instant that ages count to; now by default.
            materialized: What the assets of `retention.after` have read of partitions; see `lifecycle.outlook.Reading`.
            empty: Partitions without rows in the table that a caller tracks all the same; they come due as well.
        """
        from tierlake.pipelines.lifecycle.outlook import expiry_outlook

        return expiry_outlook(self._handle, self._instant(as_of), materialized, _parsed(empty) or ())

    def figures(
        self, as_of: datetime | date | str | None = None, *, uploads: bool = False, encryption: bool = False
    ) -> Figures:
        """Partitions, rows and bytes by tier, what is due, and what the tiers save; metrics get those of now as gauges.

        Args:
            as_of: The instant that ages count to; now by default.
            uploads: Also count incomplete uploads, by a listing of them.
            encryption: Also count unencrypted files, by a request for each file.
        """
        from tierlake.pipelines.lifecycle.figures import read_figures

        figures = read_figures(self._handle, self._instant(as_of), uploads=uploads, encryption=encryption)
        if as_of is None:
            figures.emit()
        return figures

    def explain(self, key: str | PartitionKey, as_of: datetime | date | str | None = None) -> Explanation:
        """Why a partition is where it is, what happens next, when, at what cost, and what blocks it."""
        from tierlake.pipelines.lifecycle.explain import explain

        return explain(self._handle, self._one(key, "explain_many"), self._instant(as_of))

    def explain_many(
        self, keys: Keys | None = None, as_of: datetime | date | str | None = None
    ) -> tuple[Explanation, ...]:
        """The same of several partitions, of the table or expired; None means all of the table."""
        from tierlake.pipelines.lifecycle.explain import explain_many

        return explain_many(self._handle, Selection.of(keys), self._instant(as_of))

    def select(self, keys: Keys | None = None) -> tuple[PartitionKey, ...]:
        """The partitions of the table that a selection names, in key order.

        flights.select("date=2013-01-01..2013-01-31/origin=JFK")
        flights.select(Selection(since="2013-01-01", until="2013-01-31"))

        Args:
            keys: A key, a range or a pattern (`model.selection` has the language), several of them, or a `Selection`;
                None means all.

        Raises:
            UnknownPartition: A key that nothing matches; the hint names the nearest ones.
            SpecError: A range that ends before it begins, or whose end is no value of its column.
        """
        from tierlake.pipelines.tables.requested_keys import select

        return select(self.spec, self._handle.table.snapshot(), Selection.of(keys))

    def history(self, limit: int | None = None) -> History:
        """What happened to the dataset, newest first; a list of `HistoryEntry`."""
        from tierlake.pipelines.metastore.history import history

        return history(self._handle, limit)

    def newest_act(self) -> str:
        """Names the newest record in the dataset's journal; empty where there is none."""
        return self._handle.journal.newest()

    def acts_after(self, act: str) -> list[JournalEntry]:
        """The journal's events since a record, newest first: a few requests, whatever the history's length.

        Args:
            act: What `newest_act` returned then; empty: the whole journal.
        """
        return self._handle.journal.entries(act)

    def settle(self) -> tuple[str, ...]:
        """Record the outcome of removals whose writer died before it could; see `removal.settle`.

        Returns:
            The partitions concerned.
        """
        from tierlake.pipelines.metastore.removal import settle

        return settle(self._handle)

    def verify(self, as_of: datetime | date | str | None = None, *, repair: bool = False) -> VerifyReport:
        """Whether all that is committed is there and as the policy says.

        Args:
            as_of: The instant that ages count to; now by default.
            repair: Mend a wrong storage class or a lost encryption by self-copies; nothing is ever deleted.
        """
        from tierlake.pipelines.maintenance.repair import verify_and_repair
        from tierlake.pipelines.maintenance.verify import verify

        return (verify_and_repair if repair else verify)(self._handle, self._instant(as_of))

    # -- the description ----------------------------------------------------------------------------------------------

    def diff(
        self,
        spec: Described,
        as_of: datetime | date | str | None = None,
        materialized: Materialized | None = None,
        *,
        with_effect: bool = True,
    ) -> SpecDiff:
        """How a description differs from the stored one, and what it would do; `.apply()` makes it the stored one.

        Args:
            spec: A whole description (a spec, a YAML file), in which a field left out means its default; or a mapping
                with the fields that should change.
            as_of: The instant at which the policies are evaluated; now by default.
            materialized: What the assets of `retention.after` have read of partitions; see `lifecycle.outlook.Reading`.
            with_effect: False leaves out the effect, which takes a listing of the store.
        """
        from tierlake.pipelines.lifecycle.redescribe import diff_spec
        from tierlake.pipelines.metastore.opening import description_of

        described, instant = description_of(spec), self._instant(as_of)
        diff = diff_spec(self._handle, described, instant, materialized, with_effect=with_effect)
        return diff.bind(self._apply_diff)

    def apply_spec(self, spec: Described, *, reason: str = "", run_id: str | None = None) -> SpecChange:
        """Make a description the stored one: `diff` and `apply` in one; the same again changes nothing.

        Args:
            spec: As for `diff`.
            reason: Why, for the history.
            run_id: The run that did it, for the history.

        Raises:
            SpecError: A field cannot change (URI, partitioning, format, a column's type); nothing is changed then.
            CommitConflict: Somebody else changed the description at the same time.
        """
        return self.diff(spec, with_effect=False).apply(reason=reason, run_id=run_id)

    def _apply_diff(self, diff: SpecDiff, *, reason: str = "", run_id: str | None = None) -> SpecChange:
        from tierlake.pipelines.lifecycle.redescribe import apply_diff

        change, self._handle = apply_diff(self._handle, diff, reason=reason, run_id=run_id)
        return change

    def drop(
        self, *, reason: str = "", undo: bool = True, dry_run: bool = False, run_id: str | None = None
    ) -> DropResult:
        """Take the whole dataset away, with a grace; see `pipelines.lifecycle.drop.drop`. `undrop` takes it back."""
        from tierlake.pipelines.lifecycle.drop import drop

        return drop(self._handle, reason=reason, undo=undo, dry_run=dry_run, run_id=run_id)

    def undrop(self, *, reason: str = "", dry_run: bool = False, run_id: str | None = None) -> UndropResult:
        """Take a dropped dataset back, within its grace; see `tierlake.pipelines.lifecycle.drop.undrop`."""
        from tierlake.pipelines.lifecycle.drop import undrop

        return undrop(self._handle, reason=reason, dry_run=dry_run, run_id=run_id)

    @property
    def dropped_at(self) -> datetime | None:
        """When the dataset was dropped, by the server's clock; None where it is in use."""
        dropped = self.dropped
        return dropped.at if dropped is not None else None

    @property
    def dropped(self) -> Dropped | None:
        """That the dataset was dropped, and until when it can be taken back; None where it is in use."""
        return self._handle.document.read().dropped if self._handle.document is not None else None

    # -- policies -----------------------------------------------------------------------------------------------------

    def plan_tiering(self, as_of: datetime | date | str | None = None, *, keys: Keys | None = None) -> TieringPlan:
        """Which partitions belong in another tier; `.apply()` moves them.

        Args:
            as_of: The instant that ages count to; now by default.
            keys: Only these partitions of the table; None means all.
        """
        from tierlake.pipelines.lifecycle.tiering import apply_tiering, plan_tiering

        some = None if keys is None else self.select(keys)
        return plan_tiering(self._handle, self._instant(as_of), some).bind(_bound(apply_tiering, self._handle))

    def plan_expiry(
        self,
        as_of: datetime | date | str | None = None,
        materialized: Materialized | None = None,
        *,
        keys: Keys | None = None,
    ) -> ExpiryPlan:
        """Which partitions are past their retention; `.apply()` takes them out of the table.

        Args:
            as_of: The instant that ages count to; now by default.
            materialized: What the assets of `retention.after` have read of partitions; see `lifecycle.outlook.Reading`.
            keys: Only these partitions of the table; None means all.
        """
        from tierlake.pipelines.lifecycle.expiry import apply_expiry, plan_expiry

        some = None if keys is None else self.select(keys)
        plan = plan_expiry(self._handle, self._instant(as_of), materialized, some)
        return plan.bind(_bound(apply_expiry, self._handle))

    def apply(self, plan: TieringPlan | ExpiryPlan, **options: Any) -> ApplyResult:
        """Apply a plan that was saved and loaded; the options of its own `apply`.

        Raises:
            SpecError: The plan is for another dataset.
        """
        from tierlake.pipelines.lifecycle.expiry import apply_expiry
        from tierlake.pipelines.lifecycle.plan import ExpiryPlan
        from tierlake.pipelines.lifecycle.tiering import apply_tiering

        if plan.uri != self.uri:
            message = f"the plan is for {plan.uri}, not for {self.uri}"
            raise SpecError(message, hint=f"Dataset.open({plan.uri!r}).apply(plan)")
        applier = apply_expiry if isinstance(plan, ExpiryPlan) else apply_tiering
        return plan.bind(_bound(applier, self._handle)).apply(**options)

    def undo_expiry(self, key: str | PartitionKey, *, dry_run: bool = False, run_id: str | None = None) -> UndoResult:
        """Bring an expired partition back, within the grace; `dry_run` makes the checks alone."""
        from tierlake.pipelines.lifecycle.expiry import undo_expiry

        return undo_expiry(self._handle, _key(key), dry_run=dry_run, run_id=run_id)

    def undo(
        self,
        key: Keys | None = None,
        *,
        run: str | None = None,
        dry_run: bool = False,
        run_id: str | None = None,
    ) -> UndoResults:
        """Bring back what was taken out last: of partitions, or all that the ingest with a run key replaced.

        See `lifecycle.undo`. `undoable()` shows what can be undone, and until when; `dry_run` makes the checks alone.

        Args:
            key: A partition, or several: a range, a pattern, keys or a `Selection`. What can come back does.
            run: The run key of an ingest; all that it replaced comes back, or nothing does.
            dry_run: Only make the checks, and report what would come back.
            run_id: Who did it, for the history.

        Returns:
            A tuple of `UndoResult`, which prints as lines.

        Raises:
            UnknownPartition: A key that matches nothing that was taken out, and nothing in the table.
            PolicyRefused: The one partition that is named, or one of the run's, cannot come back.
            PartialFailure: Some of several partitions cannot come back; the others are back.
        """
        from tierlake.pipelines.lifecycle.undo import undo, undo_run
        from tierlake.pipelines.lifecycle.undo_rows import UndoResults

        if (key is None) == (run is None):
            raise SpecError("undo takes a partition, or the run key of an ingest", hint='undo(key), or undo(run="...")')
        if run is not None:
            return UndoResults(undo_run(self._handle, run, dry_run=dry_run, run_id=run_id))
        chosen = Selection.named(key)
        one = chosen.exact(self.spec)
        if one is not None and len(one) == 1:
            return UndoResults([undo(self._handle, one[0], dry_run=dry_run, run_id=run_id)])
        summary = self.undo_many(chosen, dry_run=dry_run, run_id=run_id)
        summary.raise_failures()
        return UndoResults(summary.results)

    def undo_many(self, keys: Keys, *, dry_run: bool = False, run_id: str | None = None) -> UndoSummary:
        """The same of several partitions, with those that cannot come back; see `lifecycle.undo_selected`."""
        from tierlake.pipelines.lifecycle.undo_selected import undo_selected

        return undo_selected(self._handle, Selection.named(keys), dry_run=dry_run, run_id=run_id)

    def undoable(self, keys: Keys | None = None, *, classes: bool = False) -> Undoables:
        """The partitions that can be brought back, and until when; a tuple of `Undoable`.

        Args:
            keys: Only these; None means all.
            classes: Also tell the storage classes of their files, by a listing of the store.
        """
        from tierlake.pipelines.lifecycle.undo_rows import Undoables
        from tierlake.pipelines.lifecycle.undo_selected import undoable_among

        return Undoables(undoable_among(self._handle, Selection.of(keys), classes=classes))

    def hold(self, key: Keys, *, reason: str, dry_run: bool = False, run_id: str | None = None) -> bool:
        """Keep partitions whatever the policy says, until `release`; True where that changed anything, or would.

        Raises:
            PartialFailure: Some of several could not be held; the others are.
        """
        changes = self.hold_many(key, reason=reason, dry_run=dry_run, run_id=run_id)
        changes.raise_failures()
        return bool(changes.changed)

    def hold_many(self, keys: Keys, *, reason: str, dry_run: bool = False, run_id: str | None = None) -> KeyChanges:
        """The same, with what changed: `lifecycle.holds.hold`."""
        from tierlake.pipelines.lifecycle.holds import hold

        return hold(self._handle, keys, reason, dry_run=dry_run, run_id=run_id)

    def release(self, key: Keys, *, reason: str = "", dry_run: bool = False, run_id: str | None = None) -> bool:
        """Drop holds; True where there was one."""
        changes = self.release_many(key, reason=reason, dry_run=dry_run, run_id=run_id)
        return bool(changes.changed)

    def release_many(
        self, keys: Keys, *, reason: str = "", dry_run: bool = False, run_id: str | None = None
    ) -> KeyChanges:
        """The same, with what changed: `lifecycle.holds.release`."""
        from tierlake.pipelines.lifecycle.holds import release

        return release(self._handle, keys, reason, dry_run=dry_run, run_id=run_id)

    def retain(
        self,
        key: Keys,
        *,
        until: datetime | date | str,
        shorten: bool = False,
        reason: str = "",
        dry_run: bool = False,
        run_id: str | None = None,
    ) -> bool:
        """Keep partitions longer than the policy says: `lifecycle.holds.retain`. True where it changed anything.

        Raises:
            PartialFailure: Some of several are kept longer already; the others are kept until then.
        """
        options: dict[str, Any] = {"shorten": shorten, "reason": reason, "dry_run": dry_run, "run_id": run_id}
        changes = self.retain_many(key, until=until, **options)
        changes.raise_failures()
        return bool(changes.changed)

    def retain_many(
        self,
        keys: Keys,
        *,
        until: datetime | date | str,
        shorten: bool = False,
        reason: str = "",
        dry_run: bool = False,
        run_id: str | None = None,
    ) -> KeyChanges:
        """The same, with what changed: `lifecycle.holds.retain`."""
        from tierlake.pipelines.lifecycle.holds import retain

        instant = self._instant(until)
        return retain(self._handle, keys, instant, shorten=shorten, reason=reason, dry_run=dry_run, run_id=run_id)

    def restore(
        self, key: str | PartitionKey, *, days: int = 1, speed: Speed = "bulk", dry_run: bool = False
    ) -> RestoreResult:
        """Ask for an archived partition's files; see `tierlake.pipelines.query.restore.restore`."""
        from tierlake.pipelines.query.restore import restore

        return restore(self._handle, self._one(key, "restore_many"), days=days, speed=speed, dry_run=dry_run)

    def restore_many(
        self, keys: Keys, *, days: int = 1, speed: Speed = "bulk", dry_run: bool = False
    ) -> tuple[RestoreResult, ...]:
        """The same of several partitions, each with its result: `pipelines.query.restore.restore_many`."""
        from tierlake.pipelines.query.restore import restore_many

        return restore_many(self._handle, self.select(Selection.named(keys)), days=days, speed=speed, dry_run=dry_run)

    def waiting_for(self, keys: Keys | None = None) -> dict[PartitionKey, Waiting]:
        """The partitions that need a restore before they can be read; see `pipelines.query.restore.waiting_for`."""
        from tierlake.pipelines.query.restore import waiting_for

        return waiting_for(self._handle, self._some(keys))

    def vacuum(self, *, dry_run: bool = False, run_id: str | None = None) -> VacuumResult:
        """Delete files of expired and replaced partitions whose grace has ended, and old orphans."""
        from tierlake.pipelines.maintenance.vacuum import vacuum

        return vacuum(self._handle, dry_run=dry_run, run_id=run_id)

    def compact(
        self,
        key: Keys | None = None,
        *,
        sort_by: Sequence[str] | None = None,
        compression_level: int | None = None,
        dry_run: bool = False,
        limits: WriterLimits | None = None,
        engine: Engine = "local",
        client: Any = None,
        progress: Progress = False,
    ) -> CompactResult:
        """Put the small files of a partition, or of all, together; see `pipelines.maintenance.compact.compact`."""
        from tierlake.pipelines.ingest.dask_workers import Workers
        from tierlake.pipelines.maintenance.compact import compact

        return compact(
            self._handle,
            self._some(key),
            sort_by=sort_by,
            compression_level=compression_level,
            dry_run=dry_run,
            limits=limits,
            workers=Workers.of(engine, client),
            progress=progress,
        )

    def erase(
        self,
        where: Where,
        *,
        dry_run: bool = False,
        unsafe_delete_old_files: bool = False,
        limits: WriterLimits | None = None,
        engine: Engine = "local",
        client: Any = None,
        run_id: str | None = None,
    ) -> EraseReport:
        """Delete the rows that match from every partition; see `tierlake.pipelines.maintenance.erase.erase`."""
        from tierlake.pipelines.ingest.dask_workers import Workers
        from tierlake.pipelines.maintenance.erase import erase

        return erase(
            self._handle,
            where,
            dry_run=dry_run,
            unsafe_delete_old_files=unsafe_delete_old_files,
            limits=limits,
            workers=Workers.of(engine, client),
            run_id=run_id,
        )

    # -- helpers ------------------------------------------------------------------------------------------------------

    def _one(self, key: str | PartitionKey, plural: str) -> PartitionKey:
        """The partition of an argument that names one; of a range or pattern, what it means if such a one is there."""
        exact = Selection.of(key).exact(self.spec)
        if exact is not None:
            return exact[0]
        named = _key(key)
        if named not in self._handle.table.snapshot().by_partition((named,)):
            raise SpecError(f"{key} may name several partitions", hint=f"Dataset.{plural} takes ranges and patterns")
        return named

    def _some(self, keys: Keys | None, version: Version = None) -> tuple[PartitionKey, ...] | None:
        """The partitions of an argument: exact keys as they are, others as that version has them; None is all."""
        if keys is None or (not isinstance(keys, str | PartitionKey | Selection) and not (keys := tuple(keys))):
            return None if keys is None else ()
        selection = Selection.of(keys)
        exact = selection.exact(self.spec)
        if exact is not None:
            return exact
        from tierlake.pipelines.query.read import snapshot_at
        from tierlake.pipelines.tables.requested_keys import select

        snapshot = self._handle.table.snapshot() if version is None else snapshot_at(self._handle, version)
        return select(self.spec, snapshot, selection)

    def _instant(self, value: datetime | date | str | None) -> datetime:
        time = self._handle.spec.partition.time
        if value is None:
            return self._handle.clock.now()
        return as_instant(value, time.timezone if time else "UTC")


def _bound(applier: Callable[..., ApplyResult], handle: Handle) -> Callable[..., ApplyResult]:
    def apply(plan: TieringPlan | ExpiryPlan, **options: Any) -> ApplyResult:
        if options.get("keys") is not None:
            from tierlake.pipelines.tables.requested_keys import check_possible

            options["keys"] = keys = [_key(key) for key in options["keys"]]
            snapshot = handle.table.snapshot()
            check_possible(handle.spec, snapshot.schema, keys, {PartitionKey.parse(step.key) for step in plan.steps})
        with span("dataset.apply", is_verb=True, dataset=plan.uri, run_id=options.get("run_id")):
            return applier(handle, plan, **options)

    return apply


def _key(key: str | PartitionKey) -> PartitionKey:
    return PartitionKey.parse(key) if isinstance(key, str) else key


def _text_options(text: TextOptions | Mapping[str, Any] | None) -> TextOptions | None:
    from pydantic import ValidationError

    from tierlake.pipelines.model.text_options import TextOptions

    if text is None or isinstance(text, TextOptions):
        return text
    try:
        return TextOptions.model_validate(text)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_url=False))
        raise SpecError(f"text: {faults}") from error


def _parsed(keys: Iterable[str | PartitionKey] | None) -> tuple[PartitionKey, ...] | None:
    return None if keys is None else tuple(_key(key) for key in keys)
