"""An IO manager that keeps what assets return as Parquet datasets behind `lake://`.

An asset's dataset lies below the resource's warehouse under the asset's key. Each run is one commit, whatever number of
partitions it covers: a backfill of a year as a single run replaces 365 partitions at once, or none of them. Its run key
is the attempt's identity, run and step: a step that is tried again in its run writes nothing twice, and a run that
executes the step again, in whichever way, is another attempt and writes what the source returns now. The data version
of a step's materializations is a digest of the run key.

The datasets that a step loads are recorded on its materializations (`reads`).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import dagster as dg
from pydantic import Field

from tierlake.dagster_project.io import loads, stores
from tierlake.dagster_project.io.frames import input_type
from tierlake.dagster_project.io.loads import ALLOW_MISSING
from tierlake.dagster_project.io.previews import MOST_ROWS, rows_asked
from tierlake.dagster_project.partitions.reads import record_read
from tierlake.dagster_project.partitions.waits import record_wait
from tierlake.dagster_project.resources.failures import dagster_failures, step_of
from tierlake.dagster_project.resources.lake import LakeResource
from tierlake.dagster_project.resources.steps import add_partition_metadata, set_data_version
from tierlake.pipelines.errors import ArchivedError
from tierlake.pipelines.model.partition_key import PartitionKey

if TYPE_CHECKING:
    from tierlake.dagster_project.io.frames import InputType

__all__ = ["ALLOW_MISSING", "COLUMNS", "LakeParquetIOManager", "data_version", "run_key"]

COLUMNS: Final = "columns"
"""Input metadata: which columns to read."""


class LakeParquetIOManager(dg.ConfigurableIOManager):
    """Stores outputs in, and loads inputs from, the datasets of a `LakeResource`.

    The asset's metadata (`metadata.spec_metadata`) describes how its dataset is partitioned, tiered and retained; the
    first run creates it, and a later one with another description changes it. An asset without it has a dataset
    partitioned as it is itself, by the column that `partition_expr` in its metadata names.

    Outputs are pandas, polars or Dask frames (lazy ones too), pyarrow tables, batches, readers or datasets, paths of
    files, iterators that yield paths or any of the others one by one, or a dict of these by partition key, with one for
    each partition of the run; a row's own columns say which it belongs to. What is lazy or yielded is stored while it
    comes, in one commit. A generator is returned as `dg.Output(rows())`: Dagster takes a bare one for a
    generator of its own events.

    Inputs have the type of their annotation: `pandas.DataFrame` (also without one), `polars.DataFrame`,
    `polars.LazyFrame`, `pyarrow.Table`, `pyarrow.RecordBatchReader`, `pyarrow.dataset.Dataset`,
    `dask.dataframe.DataFrame`, or a `dict[str, ...]` of these by partition key; `AssetIn(metadata={"columns": [...]})`
    reads only those. Where no partition is requested, as by the first one of an asset that depends on its own earlier
    ones, the frame is empty.
    """

    lake: LakeResource
    preview_rows: int = Field(
        default=0,
        ge=0,
        le=MOST_ROWS,
        description="Rows of a run that Dagster shows; its database keeps them, whatever expires or is erased.",
    )

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        """Replace the run's partitions by what the asset returned, in one commit.

        Raises:
            TypeError: The asset returned nothing.
            dagster.Failure: It has rows outside the run's partitions, or columns that the table cannot take.
            dagster.RetryRequested: The store failed, and another try may help.
        """
        if obj is None:
            raise TypeError(
                f"{context.asset_key.to_user_string()} returned None: annotate it `-> None` to store nothing"
            )
        with dagster_failures(context):
            self._store(context, obj)

    def _store(self, context: dg.OutputContext, obj: object) -> None:
        stores.check_frames(context, obj)
        dataset, source = stores.open_output(self.lake, context, obj)
        keys = stores.run_keys(context, dataset.spec)
        covers = list(keys.values()) if keys else [] if dataset.spec.partition.columns else [PartitionKey(())]
        step = context.step_context
        result = dataset.ingest(
            source,
            run_key=run_key(step.dagster_run, context.step_key),
            keys=covers or None,
            details={"run_id": context.run_id, "job": context.job_name},
        )
        for note in result.notes:
            context.log.warning("%s", note)
        set_data_version(step, context.asset_key, data_version(result.run_key))
        metadata = stores.output_metadata(
            context, dataset, result, keys, rows_asked(context.definition_metadata, self.preview_rows)
        )
        count = len(result.partitions)
        context.log.info("%s: %d rows in %d partitions (%s)", dataset.uri, result.rows, count, result.run_key)
        context.add_output_metadata(metadata.output)
        add_partition_metadata(step, context.asset_key, metadata.partitions)

    def load_input(self, context: dg.InputContext) -> object:
        """Read the partitions that the input requests, through its partition mapping.

        Raises:
            TypeError: An annotation that this IO manager does not know.
            dagster.Failure: The dataset is not there, a partition was never materialized or has expired, or it cannot
                be read as asked.
            dagster.RetryRequested: The store failed, and another try may help.
        """
        type_ = input_type(context.name, context.dagster_type.typing_type)
        with dagster_failures(context):
            return self._load(context, type_)

    def _load(self, context: dg.InputContext, type_: InputType) -> object:
        dataset = loads.open_input(self.lake, context)
        if dataset is None:
            return loads.empty_input(type_)
        if step := step_of(context):
            record_read(step, "/".join(context.asset_key.path), dataset)
        requested = loads.requested_keys(context, dataset)
        present = None if requested is None else loads.present_keys(context, dataset, requested)
        try:
            return loads.input_rows(type_, dataset, context.definition_metadata.get(COLUMNS), present)
        except ArchivedError as error:
            if step:
                names = {str(lake_key): key for key, lake_key in (requested or {}).items()}
                keys = [names[key] for key in error.keys if key in names]
                record_wait(context.instance, context.asset_key, keys, step.run_id)
            raise


def run_key(run: dg.DagsterRun, step_key: str) -> str:
    """Names a step's commit: the same however often the step is tried in its run, another one in every other run.

    Args:
        run: The run that commits.
        step_key: Its step.
    """
    return f"{run.run_id}/{step_key}"


def data_version(run_key: str) -> str:
    """The data version of a commit, for all its partitions: a step has one for each asset.

    Args:
        run_key: The commit's.
    """
    return hashlib.sha256(run_key.encode()).hexdigest()[:16]
