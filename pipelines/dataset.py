"""A dataset: the facade over everything in this package.

from pipelines import Dataset, DatasetSpec

flights = Dataset.create(DatasetSpec(uri="lake://warehouse/flights", partition={"time": {"column": "time_hour"}}))
flights.ingest("flights.csv")
flights.read(columns=["carrier"], where=[("date", "==", "2013-07-04")])
print(flights.partitions())
print(flights.plan_tiering())
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from connector.errors import EncryptionIgnored, PreconditionFailed
from connector.filesystem import LakeFileSystem
from pipelines.clock import Clock, ServerClock
from pipelines.document import DatasetDocument, DocumentStore
from pipelines.errors import SpecError, TableExists, TableNotFound
from pipelines.forks import refuse_after_fork
from pipelines.handle import Handle
from pipelines.journal import Journal
from pipelines.layout import PartitionKey
from pipelines.spec import DatasetSpec, PartitionSpec
from pipelines.windows import as_instant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import date, datetime

    import pandas as pd
    import polars as pl
    import pyarrow as pa
    import pyarrow.dataset as pads

    from pipelines.catalog import Catalog
    from pipelines.explain import Explanation
    from pipelines.history import HistoryEntry
    from pipelines.ingest import IngestMode, IngestResult
    from pipelines.maintenance import VacuumResult, VerifyReport
    from pipelines.plan import ApplyResult, ExpiryPlan, TieringPlan, UndoResult
    from pipelines.progress import Progress
    from pipelines.reader import Where
    from pipelines.tables.protocol import Table
    from pipelines.writer import WriterLimits

__all__ = ["Dataset"]


class Dataset:
    """One dataset, ours or anybody's; `create` or `open` make one."""

    def __init__(self, handle: Handle) -> None:
        """Wrap an open handle; users call `create` or `open`."""
        self._handle = handle

    def __repr__(self) -> str:
        """The URI and the format."""
        return f"Dataset({self.uri!r}, format={self._handle.table.format!r})"

    # -- making and opening -------------------------------------------------------------------------------------------

    @classmethod
    def create(
        cls, spec: DatasetSpec, *, fs: LakeFileSystem | None = None, clock: Clock | None = None, **storage_options: Any
    ) -> Self:
        """Make a new dataset; the same spec again opens the one that is there.

        Args:
            spec: its description.
            fs: the connector; made from `storage_options` and the environment by default.
            clock: whose time counts for grace periods; the server's by default.
            storage_options: arguments of `LakeFileSystem`.

        Raises:
            TableExists: a dataset with another spec, or a table that nobody described, is there.
            EncryptionIgnored: the server stored a file without the encryption that was asked for.
            UnsupportedByServer: the storage class or the encryption does not exist on this server.
        """
        from pipelines.tables.delta import LakeDeltaTable

        refuse_after_fork()
        inside = _table_filesystem(fs, spec, storage_options)
        inside.profile.check_class(spec.write.storage_class)
        clock = clock or ServerClock(inside, spec.bucket)
        clock.now()  # a missing bucket, wrong credentials or a dead endpoint end it here, in seconds
        store = DocumentStore(inside, spec.root)
        if spec.format == "delta" and store.find() is None and LakeDeltaTable(inside, spec.root).exists():
            message = f"{spec.uri} is a Delta table already"
            raise TableExists(message, hint=f"Dataset.open({spec.uri!r}) works with it as it is")
        try:
            _describe(inside, store, DatasetDocument(spec=spec))
        except PreconditionFailed as error:
            stored = store.read().spec
            if stored != spec:
                message = f"{spec.uri} exists with another spec: {_difference(stored, spec)}"
                raise TableExists(message, hint=f"Dataset.open({spec.uri!r}), or choose another URI") from error
        if spec.format == "delta":
            LakeDeltaTable.create(inside, spec.root, _first_schema(spec), spec.partition.columns, _properties(spec))
            inside.invalidate_view(spec.root)
        return cls.open(spec.uri, fs=fs, clock=clock, **storage_options)

    @classmethod
    def open(
        cls,
        dataset: str | Path | DatasetSpec,
        *,
        fs: LakeFileSystem | None = None,
        clock: Clock | None = None,
        **storage_options: Any,
    ) -> Self:
        """Open what is there: a dataset of ours, anybody's Delta table, or a prefix of Hive-partitioned Parquet.

        Args:
            dataset: the URI, a YAML file, or a spec. What is stored with the dataset wins over a file or spec.
            fs: the connector; made from `storage_options` and the environment by default.
            clock: whose time counts for grace periods; the server's by default.
            storage_options: arguments of `LakeFileSystem`.

        Raises:
            TableNotFound: nothing there.
        """
        refuse_after_fork()
        asked = _asked_for(dataset)
        inside = _table_filesystem(fs, asked, storage_options)
        clock = clock or ServerClock(inside, asked.bucket)
        clock.now()
        store = DocumentStore(inside, asked.root)
        document = store.find()
        described = document is not None
        spec = document.spec if document is not None else asked
        table = _open_table(inside, spec, declared=described or not isinstance(dataset, str))
        if not described and isinstance(dataset, str):
            columns = table.partition_columns
            spec = spec.model_copy(update={"format": table.format, "partition": PartitionSpec(by=columns)})
        if spec.write != asked.write:
            inside = _table_filesystem(fs, spec, storage_options)
            table = _open_table(inside, spec, declared=True)
            store = DocumentStore(inside, spec.root)
        journal = Journal(inside, spec.root)
        return cls(Handle(inside, spec, table, store if described else None, journal, clock))

    @property
    def uri(self) -> str:
        """`lake://bucket/prefix`."""
        return self._handle.spec.uri

    @property
    def spec(self) -> DatasetSpec:
        """The description that is stored with the dataset, or what its files tell."""
        return self._handle.spec

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
        """The table's columns, partition columns included."""
        import pyarrow as pa

        return self._handle.table.snapshot().schema or pa.schema([])

    @property
    def fs(self) -> LakeFileSystem:
        """The filesystem that may write below this table; whoever goes around the table with it answers for that."""
        return self._handle.fs

    # -- rows in and out ----------------------------------------------------------------------------------------------

    def ingest(
        self,
        source: object,
        mode: IngestMode = "replace",
        run_key: str | None = None,
        *,
        keys: Sequence[str | PartitionKey] | None = None,
        details: Mapping[str, object] | None = None,
        limits: WriterLimits | None = None,
        storage_options: Mapping[str, object] | None = None,
        progress: Progress = False,
    ) -> IngestResult:
        """Write rows and commit them; see `pipelines.ingest.ingest` for the arguments and errors.

        Args:
            source: path or URL (CSV, JSON Lines, Parquet, Arrow IPC), frame, Arrow table, reader, dataset or iterable.
            mode: `replace` the partitions that the source touches, or `append` to them.
            run_key: identity of the run; the same again commits nothing.
            keys: the partitions that the source covers; those without rows are emptied.
            details: more JSON values for the commit's metadata, such as a run id.
            limits: bounds on memory and concurrency.
            storage_options: for a source path.
            progress: a bar with rows read, or a function that is called with each step.
        """
        from pipelines.ingest import ingest
        from pipelines.progress import counting

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
                on_rows=on_rows,
            )

    def scan(self, version: int | None = None) -> pads.Dataset:
        """The whole table as a lazy `pyarrow.dataset.Dataset`; `version` reads an older state of a Delta table."""
        from pipelines.reader import scan

        return scan(self._handle, version)

    def read(
        self, columns: Sequence[str] | None = None, where: Where | None = None, version: int | None = None
    ) -> pa.Table:
        """Rows in memory; see `pipelines.reader.read`."""
        from pipelines.reader import read

        return read(self._handle, columns, where, version)

    def to_pandas(
        self, columns: Sequence[str] | None = None, where: Where | None = None, version: int | None = None
    ) -> pd.DataFrame:
        """Rows as a pandas frame; the same arguments as `read`."""
        frame: pd.DataFrame = self.read(columns, where, version).to_pandas()
        return frame

    def to_polars(
        self, columns: Sequence[str] | None = None, where: Where | None = None, version: int | None = None
    ) -> pl.DataFrame:
        """Rows as a polars frame; the same arguments as `read`."""
        import polars as pl

        frame = pl.from_arrow(self.read(columns, where, version))
        return frame if isinstance(frame, pl.DataFrame) else frame.to_frame()

    # -- looking ------------------------------------------------------------------------------------------------------

    def partitions(self, as_of: datetime | date | str | None = None) -> Catalog:
        """The catalog: key, rows, files, bytes, storage class, tier, age and cost of every partition."""
        from pipelines.catalog import read_catalog

        return read_catalog(self._handle, self._instant(as_of))

    def explain(self, key: str | PartitionKey, as_of: datetime | date | str | None = None) -> Explanation:
        """Why a partition is where it is, what happens next, when, at what cost, and what blocks it."""
        from pipelines.explain import explain

        return explain(self._handle, _key(key), self._instant(as_of))

    def history(self, limit: int | None = None) -> list[HistoryEntry]:
        """What happened to the dataset, newest first."""
        from pipelines.history import history

        return history(self._handle, limit)

    def verify(self, as_of: datetime | date | str | None = None) -> VerifyReport:
        """Whether all that is committed is there and as the policy says."""
        from pipelines.maintenance import verify

        return verify(self._handle, self._instant(as_of))

    # -- policies -----------------------------------------------------------------------------------------------------

    def plan_tiering(self, as_of: datetime | date | str | None = None) -> TieringPlan:
        """Which partitions belong in another tier; `.apply()` moves them."""
        from pipelines.tiering import apply_tiering, plan_tiering

        return plan_tiering(self._handle, self._instant(as_of)).bind(_bound(apply_tiering, self._handle))

    def plan_expiry(
        self,
        as_of: datetime | date | str | None = None,
        materialized: Mapping[str, Callable[[PartitionKey], datetime | None]] | None = None,
    ) -> ExpiryPlan:
        """Which partitions are past their retention; `.apply()` takes them out of the table.

        Args:
            as_of: the instant that ages count to; now by default.
            materialized: for each downstream name in `retention.after`: when it last saw a partition, or None.
        """
        from pipelines.expiry import apply_expiry, plan_expiry

        plan = plan_expiry(self._handle, self._instant(as_of), materialized)
        return plan.bind(_bound(apply_expiry, self._handle))

    def apply(self, plan: TieringPlan | ExpiryPlan, **options: Any) -> ApplyResult:
        """Apply a plan that was saved and loaded; the options of its own `apply`.

        Raises:
            SpecError: the plan is for another dataset.
        """
        from pipelines.expiry import apply_expiry
        from pipelines.plan import ExpiryPlan
        from pipelines.tiering import apply_tiering

        if plan.uri != self.uri:
            message = f"the plan is for {plan.uri}, not for {self.uri}"
            raise SpecError(message, hint=f"Dataset.open({plan.uri!r}).apply(plan)")
        applier = apply_expiry if isinstance(plan, ExpiryPlan) else apply_tiering
        return plan.bind(_bound(applier, self._handle)).apply(**options)

    def undo_expiry(self, key: str | PartitionKey, *, run_id: str | None = None) -> UndoResult:
        """Bring an expired partition back, within the grace."""
        from pipelines.expiry import undo_expiry

        return undo_expiry(self._handle, _key(key), run_id=run_id)

    def hold(self, key: str | PartitionKey, *, reason: str) -> bool:
        """Keep a partition whatever the policy says, until `release`; True where that changed anything."""
        from pipelines.holds import hold

        return hold(self._handle, _key(key), reason)

    def release(self, key: str | PartitionKey) -> bool:
        """Drop a hold; True where there was one."""
        from pipelines.holds import release

        return release(self._handle, _key(key))

    def retain(self, key: str | PartitionKey, *, until: datetime | date | str) -> bool:
        """Keep a partition longer than the policy says; True where that changed anything."""
        from pipelines.holds import retain

        return retain(self._handle, _key(key), self._instant(until))

    def vacuum(self, *, dry_run: bool = False, run_id: str | None = None) -> VacuumResult:
        """Delete files of expired and replaced partitions whose grace has ended, and old orphans."""
        from pipelines.maintenance import vacuum

        return vacuum(self._handle, dry_run=dry_run, run_id=run_id)

    # -- helpers ------------------------------------------------------------------------------------------------------

    def _instant(self, value: datetime | date | str | None) -> datetime:
        time = self._handle.spec.partition.time
        if value is None:
            return self._handle.clock.now()
        return as_instant(value, time.timezone if time else "UTC")


def _bound(applier: Callable[..., ApplyResult], handle: Handle) -> Callable[..., ApplyResult]:
    return lambda plan, **options: applier(handle, plan, **options)


def _key(key: str | PartitionKey) -> PartitionKey:
    return PartitionKey.parse(key) if isinstance(key, str) else key


def _parsed(keys: Iterable[str | PartitionKey] | None) -> tuple[PartitionKey, ...] | None:
    return None if keys is None else tuple(_key(key) for key in keys)


def _asked_for(dataset: str | Path | DatasetSpec) -> DatasetSpec:
    if isinstance(dataset, DatasetSpec):
        return dataset
    if isinstance(dataset, Path) or dataset.endswith((".yaml", ".yml")):
        path = Path(dataset)
        if not path.is_file():
            message = f"no file {path}"
            raise TableNotFound(message, hint="DATASET is a URI (lake://bucket/prefix) or a YAML file")
        return DatasetSpec.from_yaml(path)
    return DatasetSpec(uri=dataset)


def _table_filesystem(fs: LakeFileSystem | None, spec: DatasetSpec, options: Mapping[str, Any]) -> LakeFileSystem:
    outside = fs if fs is not None else LakeFileSystem(**options)
    return outside.for_table(spec.root, encryption=spec.write.encryption, storage_class=spec.write.storage_class)


def _open_table(fs: LakeFileSystem, spec: DatasetSpec, *, declared: bool) -> Table:
    from pipelines.tables.delta import LakeDeltaTable
    from pipelines.tables.parquet import PlainParquetTable, open_plain

    if declared and spec.format == "parquet":
        return PlainParquetTable(fs, spec.root, spec.partition.columns)
    delta = LakeDeltaTable(fs, spec.root)
    if declared or delta.exists():
        return delta
    return open_plain(fs, spec.root, None)


def _describe(fs: LakeFileSystem, store: DocumentStore, document: DatasetDocument) -> None:
    """Write the first object of the dataset; it shows whether the server honours the encryption."""
    try:
        store.create(document)
    except EncryptionIgnored:
        fs.rm_file(store.path)
        raise


def _first_schema(spec: DatasetSpec) -> pa.Schema:
    import pyarrow as pa

    from pipelines.schema import declared_schema

    keys = [pa.field(name, pa.string()) for name in spec.partition.columns]
    declared = declared_schema(spec.columns)
    return pa.schema([*keys, *(field for field in declared if field.name not in spec.partition.columns)])


def _properties(spec: DatasetSpec) -> dict[str, str]:
    """Delta properties that match the spec: other engines' vacuum then keeps our grace too."""
    hours = int(spec.retention.grace.total_seconds() // 3600)
    return {"delta.deletedFileRetentionDuration": f"interval {hours} hours"}


def _difference(stored: DatasetSpec, asked: DatasetSpec) -> str:
    before, after = stored.model_dump(mode="json"), asked.model_dump(mode="json")
    return "; ".join(f"{name} is {before[name]}, not {after[name]}" for name in before if before[name] != after[name])
