"""An IO manager that keeps what assets return as Parquet datasets behind `lake://`.

An asset's dataset lies below the resource's warehouse under the asset's key. Each run is one commit, whatever number of
partitions it covers: a backfill of a year as a single run replaces 365 partitions at once, or none of them. The run's
identity is its run key, so that a retried step whose commit arrived writes nothing twice.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

import dagster as dg

from dagster_project import waiting
from dagster_project.failures import step_of, tell_dagster
from dagster_project.frames import type_name
from dagster_project.metadata import LINEAGE, REASON, partition_metadata, spec_of, table_metadata
from dagster_project.partition_wipe import latest_storage_ids
from dagster_project.partitions import KeyNames
from dagster_project.resources import LakeResource
from pipelines.errors import ArchivedError, TableNotFound
from pipelines.layout import PartitionKey, typed
from pipelines.spec import DatasetSpec

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc

    from pipelines import Dataset

__all__ = ["ALLOW_MISSING", "COLUMNS", "LakeParquetIOManager", "run_key"]

COLUMNS: Final = "columns"
"""Input metadata: which columns to read."""

ALLOW_MISSING: Final = "allow_missing_partitions"
"""Input metadata: read what is there, where some of the partitions are not."""

_DETAILED_PARTITIONS: Final = 1000
"""A run over more partitions than this gets the same metadata on each: Dagster checks each key against all."""


class LakeParquetIOManager(dg.ConfigurableIOManager):
    """Stores outputs in, and loads inputs from, the datasets of a `LakeResource`.

    The asset's metadata (`metadata.spec_metadata`) says how its dataset is partitioned, tiered and retained; the first
    run creates it, and a later one that says otherwise changes its description. Outputs are pandas or polars frames,
    pyarrow tables or readers. Inputs are what their annotation says: `pyarrow.Table`, else `pandas.DataFrame`;
    `AssetIn(metadata={"columns": [...]})` reads only those.
    """

    lake: LakeResource

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        """Replace the run's partitions by what the asset returned, in one commit.

        Raises:
            TypeError: the asset returned nothing.
            dagster.Failure: it has rows outside the run's partitions, or columns that the table cannot take.
            dagster.RetryRequested: the store failed, and another try may help.
        """
        if obj is None:
            raise TypeError(
                f"{context.asset_key.to_user_string()} returned None: annotate it `-> None` to store nothing"
            )
        with tell_dagster(context):
            self._store(context, obj)

    def _store(self, context: dg.OutputContext, obj: object) -> None:
        dataset = self._created(context)
        names = KeyNames(dataset.spec.partition.columns)
        asked = {key: names.to_lake(key) for key in _asset_keys(context)}
        step = context.step_context
        result = dataset.ingest(
            obj,
            run_key=run_key(step.instance, step.dagster_run, context.step_key),
            keys=list(asked.values()) if asked else None,
            details={"run_id": context.run_id, "job": context.job_name},
        )
        for note in result.notes:
            context.log.warning("%s", note)
        catalog = dataset.partitions()
        found = {partition.key: partition for partition in catalog}
        parts = [found[key] for key in asked.values() if key in found] if asked else list(catalog)
        facts = table_metadata(dataset.spec, dataset.schema, catalog.total, result, version=result.version)
        if LINEAGE in context.definition_metadata:
            facts[LINEAGE] = context.definition_metadata[LINEAGE]
        context.log.info("%s: %d rows in %d partitions (%s)", dataset.uri, result.rows, len(parts), result.run_key)
        if 1 < len(asked) <= _DETAILED_PARTITIONS:
            context.add_output_metadata(facts)
            for key, lake_key in asked.items():
                own = partition_metadata([found[lake_key]] if lake_key in found else [])
                step.add_asset_metadata(own, context.asset_key, key)
        else:
            context.add_output_metadata(facts | partition_metadata(parts))

    def load_input(self, context: dg.InputContext) -> object:
        """Read the partitions that the input asks for, through its partition mapping.

        Raises:
            FileNotFoundError: one of them was never materialized, or has expired.
            TypeError: an annotation that this IO manager does not know.
            dagster.Failure: the dataset is not there, or cannot be read as asked.
            dagster.RetryRequested: the store failed, and another try may help.
        """
        wanted = type_name(context.dagster_type.typing_type)
        if wanted not in {"", "pandas.DataFrame", "pyarrow.Table"}:
            raise TypeError(f"input {context.name} asks for {wanted}: annotate it pandas.DataFrame or pyarrow.Table")
        with tell_dagster(context):
            return self._load(context, is_table=wanted == "pyarrow.Table")

    def _load(self, context: dg.InputContext, *, is_table: bool) -> pa.Table | pd.DataFrame:
        dataset = self.lake.dataset(_name(context.asset_key))
        where = None
        if context.has_asset_partitions:
            names = KeyNames(dataset.spec.partition.columns)
            asked = {key: names.to_lake(key) for key in context.asset_partition_keys}
            self._check_present(context, dataset, asked)
            where = _filter(list(asked.values()), dataset.schema)
        columns = context.definition_metadata.get(COLUMNS)
        try:
            return (dataset.read if is_table else dataset.to_pandas)(columns, where)
        except ArchivedError as error:
            if step := step_of(context):
                keys = [KeyNames(key.columns).to_dagster(key) for key in map(PartitionKey.parse, error.keys)]
                waiting.report(context.instance, context.asset_key, keys, step.run_id)
            raise

    def _created(self, context: dg.OutputContext) -> Dataset:
        from pipelines import Dataset

        name = _name(context.asset_key)
        said = spec_of(context.definition_metadata)
        try:
            dataset = self.lake.dataset(name)
        except TableNotFound:
            spec = (said or DatasetSpec(uri=self.lake.uri(name))).model_copy(update={"uri": self.lake.uri(name)})
            return Dataset.create(spec, fs=self.lake.filesystem())
        if said is not None and dataset.is_described:  # the code is the desired state
            spec = said.model_copy(update={"uri": dataset.uri})
            change = dataset.apply_spec(spec, reason=REASON, run_id=context.run_id)
            if change.changed:
                context.log.info("%s", change)
        return dataset

    @staticmethod
    def _check_present(context: dg.InputContext, dataset: Dataset, asked: dict[str, PartitionKey]) -> None:
        """Refuse to compute from what is not there; a materialized partition without rows is there."""
        live = {partition.key for partition in dataset.partitions()}
        absent = [key for key, lake_key in asked.items() if lake_key not in live]
        missing = sorted(set(absent) - set(latest_storage_ids(context.instance, context.asset_key, absent or None)))
        if not missing:
            return
        some = f"{', '.join(missing[:5])}{', ...' if len(missing) > 5 else ''}"  # noqa: PLR2004 - enough for a message
        message = f"{dataset.uri} lacks {len(missing)} of {len(asked)} partitions: {some}; never written, or expired"
        if not context.definition_metadata.get(ALLOW_MISSING):
            raise FileNotFoundError(f"{message}. To go on without: AssetIn(metadata={{{ALLOW_MISSING!r}: True}})")
        context.log.warning("%s", message)


def run_key(instance: dg.DagsterInstance, run: dg.DagsterRun, step_key: str) -> str:
    """Names a step's commit: the same for the retries of a run, and new when a finished run is executed again.

    Args:
        instance: knows the earlier runs.
        run: the run that commits.
        step_key: its step.
    """
    first = run
    while first.parent_run_id:
        parent = instance.get_run_by_id(first.parent_run_id)
        if parent is None or parent.is_success:
            break
        first = parent
    return f"{first.run_id}/{step_key}"


def _name(asset_key: dg.AssetKey) -> str:
    return "/".join(asset_key.path)


def _asset_keys(context: dg.OutputContext) -> Sequence[str]:
    return context.asset_partition_keys if context.has_asset_partitions else ()


def _filter(keys: Sequence[PartitionKey], schema: pa.Schema) -> pc.Expression:
    """Rows of these partitions."""
    return _among(keys[0].columns, {tuple(text for _, text in key.items) for key in keys}, schema)


def _among(columns: Sequence[str], keys: Collection[tuple[str, ...]], schema: pa.Schema) -> pc.Expression:
    """Rows with one of these values; those that go with the same values of the other columns are one condition."""
    first, *others = columns
    if not others:
        return _is_one_of(first, [text for (text,) in keys], schema)
    beside: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for text, *rest in keys:
        beside[text].add(tuple(rest))
    together: dict[frozenset[tuple[str, ...]], list[str]] = defaultdict(list)
    for text, rests in beside.items():
        together[frozenset(rests)].append(text)
    parts = [_is_one_of(first, texts, schema) & _among(others, rests, schema) for rests, texts in together.items()]
    return _any_of(parts)


def _is_one_of(name: str, texts: Sequence[str], schema: pa.Schema) -> pc.Expression:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = schema.field(name).type
    kept = pc.field(name).isin(pa.array([typed(text, kind) for text in texts if text], kind))
    return kept | pc.field(name).is_null() if "" in texts else kept


def _any_of(expressions: Sequence[pc.Expression]) -> pc.Expression:
    """At least one of them; as a tree, as Arrow goes down a chain of thousands until the stack ends."""
    if len(expressions) == 1:
        return expressions[0]
    half = len(expressions) // 2
    return _any_of(expressions[:half]) | _any_of(expressions[half:])
