"""A dataset as a `dask.dataframe`: each partition of the frame is a few live files, read where it is computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tierlake.connector.interop import Options
from tierlake.pipelines.parquet.scan import LiveDataset, ScannedFile, naming_failures
from tierlake.pipelines.query.read import (
    checked_columns,
    checked_filter,
    of_partitions,
    pandas_frame,
    paths_in,
    snapshot_at,
)
from tierlake.pipelines.query.restore import archived_among, refusal
from tierlake.pipelines.runtime.extras import needing
from tierlake.pipelines.runtime.handed_on import handed_on
from tierlake.pipelines.sources.splits import together
from tierlake.pipelines.tables.live_files import FileNames, arrow_filesystem

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc

    from tierlake.pipelines.metastore.handle import Handle
    from tierlake.pipelines.model.partition_key import PartitionKey
    from tierlake.pipelines.query.filters import Where
    from tierlake.pipelines.query.read import Version

__all__ = ["to_dask"]

_PIECE_BYTES = 64 << 20


def to_dask(
    handle: Handle,
    columns: Sequence[str] | None = None,
    where: Where | None = None,
    version: Version = None,
    keys: Iterable[PartitionKey] | None = None,
) -> Any:
    """The rows as a lazy `dask.dataframe.DataFrame`, partition columns included.

    It reads the live files of this moment, even when it is computed later.

    Args:
        handle: The dataset.
        columns: Names to read; all by default.
        where: Which rows; partitions and files that cannot hold any are not read.
        version: An older version of a Delta table, or the instant at which it was the newest.
        keys: Only these partitions, as far as the table has them.

    Raises:
        SchemaMismatch: An unknown column, or a filter that does not fit its type.
        ArchivedError: Partitions that have to be restored first.
    """
    with needing("dask", "to_dask()"):
        import dask
        import dask.dataframe as dd

    snapshot = snapshot_at(handle, version)
    dataset = of_partitions(handle, snapshot, keys)
    names = checked_columns(handle, dataset, columns)
    matching = checked_filter(handle, dataset, where)
    if waiting := archived_among(handle, snapshot, paths_in(handle, dataset, matching)):
        raise refusal(handle, waiting)
    files = [(file, file.size) for file in dataset.files_of(matching)]
    pieces = [tuple(piece) for piece in together(files, _PIECE_BYTES)]
    by = handle.table.partition_columns
    options, root = Options(handle.fs.dask_options()), handle.table.root
    reading = _Reading(options, root, snapshot.log_version, dataset.schema, by, names, matching)
    read = handed_on(reading, "dask.read")
    meta = dataset.schema.empty_table().select(names).to_pandas()
    from_map: Any = dd.from_map  # it has no types
    # Dask takes every column of objects for text, and would turn dates, decimals, bytes and lists into text
    with dask.config.set({"dataframe.convert-string": False}):
        return from_map(read, pieces or [()], meta=meta, enforce_metadata=False, label="tierlake")


@dataclass(frozen=True, slots=True)
class _Reading:
    """Reads some files on a worker; small to send."""

    options: Options
    root: str
    version: int | None
    schema: pa.Schema
    keys: tuple[str, ...]
    columns: list[str]
    matching: pc.Expression | None

    def __call__(self, files: tuple[ScannedFile, ...]) -> pd.DataFrame:
        from tierlake.connector.filesystem import LakeFileSystem

        fs = LakeFileSystem(**self.options)
        names = FileNames(fs, self.root, {file.path: file.facts.key for file in files}, self.version)
        filesystem = arrow_filesystem(fs, names)
        dataset = LiveDataset(files, self.schema, filesystem, self.keys)
        with naming_failures(self.root, self.matching):
            rows = dataset.to_table(columns=self.columns, filter=self.matching)
        return pandas_frame(rows, is_part=True)
