"""What an IO manager stores: in which dataset, under which keys, and the metadata afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from tierlake.connector.errors import LakeError
from tierlake.dagster_project.io.previews import previewed
from tierlake.dagster_project.partitions.keys import KeyNames
from tierlake.dagster_project.partitions.metadata import (
    LINEAGE,
    PARTITION_ROWS,
    REASON,
    STATE,
    partition_metadata,
    spec_of,
    table_metadata,
    written_metadata,
)
from tierlake.dagster_project.partitions.windows import time_partition_of
from tierlake.pipelines.errors import SourceError, SpecError, TableNotFound
from tierlake.pipelines.model.partition_key import PartitionKey
from tierlake.pipelines.model.spec import DatasetSpec, PartitionSpec
from tierlake.pipelines.model.time_window import KEY_FORMATS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from tierlake.dagster_project.resources.lake import LakeResource
    from tierlake.pipelines import Dataset
    from tierlake.pipelines.ingest.results import IngestResult
    from tierlake.pipelines.query.contents import Contents

__all__ = ["PARTITION_COLUMN", "OutputMetadata", "check_frames", "open_output", "output_metadata", "run_keys"]

PARTITION_COLUMN: Final = "partition_expr"
"""Definition metadata, as Dagster's database IO managers have it: the column by which an asset without
`spec_metadata` is partitioned."""

_KEY_COLUMNS: Final = {"hour": "hour", "day": "date", "month": "month", "year": "year"}


def open_output(lake: LakeResource, context: dg.OutputContext, obj: object) -> tuple[Dataset, object]:
    """The dataset of an asset, made where it is not there yet, and the source to ingest into it.

    The code is the desired state: a spec that differs from the stored description replaces it.

    Raises:
        SpecError: Asset and dataset do not have the same partitions, or the partition column is not given.
    """
    from tierlake.dagster_project.io.outputs import source_of
    from tierlake.pipelines import Dataset

    name = "/".join(context.asset_key.path)
    defined = spec_of(context.definition_metadata)
    try:
        dataset = lake.dataset(name)
    except TableNotFound:
        spec, source, schema = _new_dataset(context, defined, obj)
        spec = spec.model_copy(update={"uri": lake.uri(name)})
        _names(context, spec)
        return Dataset.create(spec, schema=schema, fs=lake.filesystem()), source
    if defined is not None and dataset.is_described:
        change = dataset.apply_spec(
            defined.model_copy(update={"uri": dataset.uri}), reason=REASON, run_id=context.run_id
        )
        if change.changed:
            context.log.info("%s", change)
    return dataset, source_of(obj, partial(_known, dataset), dataset.spec.text)


def _known(dataset: Dataset) -> pa.Schema | None:
    """The columns that a source has of a table; None before the first rows."""
    import pyarrow as pa

    time, schema = dataset.spec.partition.time, dataset.contents().schema
    computed = time.key if time is not None and time.column != time.key else None
    return (
        pa.schema([field for field in schema if field.name != computed]) if schema is not None and len(schema) else None
    )


def run_keys(context: dg.OutputContext, spec: DatasetSpec) -> dict[str, PartitionKey]:
    """The run's partitions by Dagster's key; none where the asset has none.

    Raises:
        SpecError: Asset and dataset do not have the same partitions.
    """
    names = _names(context, spec)
    return {key: names.to_lake(key) for key in context.asset_partition_keys} if context.has_asset_partitions else {}


def check_frames(context: dg.OutputContext, obj: object) -> None:
    """Refuse a dict of frames whose keys are not the run's partitions.

    Raises:
        SourceError: It has others, or lacks one: its rows would be replaced by none.
    """
    if not isinstance(obj, dict):
        return
    asset = context.asset_key.to_user_string()
    keys = set(context.asset_partition_keys) if context.has_asset_partitions else set()
    if not obj:
        raise SourceError(f"{asset} returned an empty dict", hint="return an empty frame where there are no rows")
    others = [key for key in obj if key not in keys]
    if others:
        of = "the asset has no partitions" if not keys else "that is no partition of this run"
        raise SourceError(
            f"{asset} returned a frame for {others[0]!r}, and {of}",
            hint="a dict is of frames by Dagster's partition key",
        )
    if missing := sorted(keys - obj.keys()):
        raise SourceError(
            f"{asset} returned no frame for {missing[0]!r}, which is a partition of this run",
            hint="return an empty frame where there are no rows",
        )


@dataclass(frozen=True, slots=True)
class OutputMetadata:
    """The metadata of an ingest.

    Attributes:
        output: Metadata of the whole output.
        partitions: Metadata of each partition of a run over several, by Dagster's key.
    """

    output: dict[str, Any]
    partitions: dict[str, dict[str, Any]]


def output_metadata(
    context: dg.OutputContext,
    dataset: Dataset,
    result: IngestResult,
    keys: Mapping[str, PartitionKey],
    preview_rows: int = 0,
) -> OutputMetadata:
    """The metadata after a commit. The commit stands: numbers that the store does not give any more become notes.

    Args:
        context: The output's context.
        dataset: Ingested into.
        result: The result of the ingest.
        keys: The run's partitions.
        preview_rows: How many rows the last of them shows.
    """
    notes = [] if result.committed else ["this run had been committed before; nothing was written again"]
    contents = _contents(dataset, notes)
    facts = table_metadata(dataset.spec, contents, result) | _state(dataset, result, notes)
    if LINEAGE in context.definition_metadata:
        facts[LINEAGE] = context.definition_metadata[LINEAGE]
    if result.committed:
        parts = {key: [result.written[own]] for key, own in keys.items()} or {"": list(result.written.values())}
        partitions = {key: written_metadata(written) for key, written in parts.items()}
    elif keys or not dataset.spec.partition.columns:
        partitions = _stored_before(dataset, contents, keys or {"": PartitionKey(())}, notes)
    else:  # the partitions that an asset without any wrote before are not recorded
        partitions = {}
    for name, preview in _previewed(dataset, result, keys, partitions, preview_rows, notes).items():
        partitions[name] |= preview
    if len(partitions) == 1:
        (only,), partitions = partitions.values(), {}
        facts |= only
    if notes:
        facts["note"] = "; ".join(notes)
    return OutputMetadata(facts, partitions)


def _previewed(
    dataset: Dataset,
    result: IngestResult,
    keys: Mapping[str, PartitionKey],
    partitions: Mapping[str, Mapping[str, Any]],
    rows: int,
    notes: list[str],
) -> dict[str, dict[str, Any]]:
    try:
        return previewed(dataset, result, keys, partitions, rows)
    except Exception as error:  # noqa: BLE001 - the commit is made
        notes.append(_note("there is no preview", error))
        return {}


def _contents(dataset: Dataset, notes: list[str]) -> Contents | None:
    try:
        return dataset.contents()
    except Exception as error:  # noqa: BLE001 - the commit is made
        notes.append(_note("the table's size is not known", error))
        return None


def _state(dataset: Dataset, result: IngestResult, notes: list[str]) -> dict[str, Any]:
    """The state of the table that distinguishes later changes from this commit."""
    try:
        return {STATE: dataset.state(result.version or None)}
    except Exception as error:  # noqa: BLE001 - the commit is made
        notes.append(_note("the state of the table is not known", error))
        return {}


def _stored_before(
    dataset: Dataset, contents: Contents | None, keys: Mapping[str, PartitionKey], notes: list[str]
) -> dict[str, dict[str, Any]]:
    """Metadata of partitions that an earlier attempt wrote; a listing gives their storage classes."""
    try:
        stored = {partition.key: partition for partition in dataset.partitions(keys=keys.values())}
    except Exception as error:  # noqa: BLE001 - the commit is made
        notes.append(_note("the partitions' classes are not known", error))
        rows = {key: contents.rows.get(own, 0) for key, own in keys.items()} if contents else {}
        return {key: {PARTITION_ROWS: rows[key]} if rows.get(key) is not None else {} for key in keys}
    return {key: partition_metadata([stored[own]] if own in stored else []) for key, own in keys.items()}


def _note(what: str, error: Exception) -> str:
    if not isinstance(error, LakeError):
        return f"{what}: {error}"
    return f"{what}: {error.code}: {error}"


def _names(context: dg.OutputContext, spec: DatasetSpec) -> KeyNames:
    partitions_def = context.asset_partitions_def if context.has_asset_partitions else None
    return KeyNames.of(context.asset_key.to_user_string(), spec.partition, partitions_def)


def _new_dataset(
    context: dg.OutputContext, defined: DatasetSpec | None, obj: object
) -> tuple[DatasetSpec, object, pa.Schema | None]:
    """The description of a new dataset, its first source, and its schema where the description has none."""
    from tierlake.dagster_project.io.outputs import source_of
    from tierlake.pipelines.ingest.preparation import first_look
    from tierlake.pipelines.model.stored_types import declared_schema
    from tierlake.pipelines.sources import RowStream, open_source

    spec = defined or DatasetSpec(uri=f"lake://warehouse/{'/'.join(context.asset_key.path)}")
    source = source_of(obj, lambda: declared_schema(spec.columns) if spec.columns else None, spec.text)
    if defined is None and context.has_asset_partitions:
        stream = source = source if isinstance(source, RowStream) else open_source(source, None)
        spec = spec.model_copy(update={"partition": _derived(context, stream.schema)})
    if spec.format != "delta" or spec.columns or spec.partition.columns:
        return spec, source, None
    source, schema = first_look(spec, source)
    return spec, source, schema


def _derived(context: dg.OutputContext, schema: pa.Schema) -> PartitionSpec:
    """The partitioning of an asset without a spec: as the asset is partitioned, by the columns that hold its keys.

    Raises:
        SpecError: Neither the metadata nor the rows have such columns.
    """
    partitions_def = context.asset_partitions_def
    value = context.definition_metadata.get(PARTITION_COLUMN)
    column = value.value if isinstance(value, dg.MetadataValue) else value
    if isinstance(partitions_def, dg.MultiPartitionsDefinition):
        names = {part.name: part.partitions_def for part in partitions_def.partitions_defs}
        time = [(name, part) for name, part in names.items() if isinstance(part, dg.TimeWindowPartitionsDefinition)]
        if not names.keys() <= set(schema.names):
            raise _undescribed(context, schema)
        key = time[0] if time else None
    else:
        is_time = isinstance(partitions_def, dg.TimeWindowPartitionsDefinition)
        name = str(column) if column else "date" if is_time else ""
        if name not in schema.names:
            raise _undescribed(context, schema)
        names = {name: partitions_def}
        key = (name, partitions_def) if isinstance(partitions_def, dg.TimeWindowPartitionsDefinition) else None
    by = tuple(name for name in names if key is None or name != key[0])
    if key is None:
        return PartitionSpec(by=by)
    return _over_time(*key, schema, by)


def _over_time(
    name: str, definition: dg.TimeWindowPartitionsDefinition, schema: pa.Schema, by: Sequence[str]
) -> PartitionSpec:
    import pyarrow.types as pat

    kind = schema.field(name).type
    time = time_partition_of(definition, name)
    if time is None:
        return PartitionSpec(by=(name, *by))
    if pat.is_timestamp(kind) or (pat.is_date(kind) and time.every != "day"):
        key = _KEY_COLUMNS[time.every]
        key = key if key != name.lower() else f"{key}_key"
        return PartitionSpec(time=time.model_copy(update={"column": name, "key": key}), by=tuple(by))
    if pat.is_date(kind) or definition.fmt == KEY_FORMATS[time.every]:
        return PartitionSpec(time=time, by=tuple(by))
    return PartitionSpec(by=(name, *by))


def _undescribed(context: dg.OutputContext, schema: pa.Schema) -> SpecError:
    import pyarrow.types as pat

    times = [field.name for field in schema if pat.is_temporal(field.type)]
    partitions_def = context.asset_partitions_def
    uri = f"lake://warehouse/{'/'.join(context.asset_key.path)}"
    if isinstance(partitions_def, dg.MultiPartitionsDefinition):
        names = ", ".join(part.name for part in partitions_def.partitions_defs)
        spec, more = "{...}", f"; or have the columns {names} in the rows"
    elif isinstance(partitions_def, dg.TimeWindowPartitionsDefinition):
        time = time_partition_of(partitions_def, "date")
        every, zone = (time.every, time.timezone) if time else ("day", partitions_def.timezone)
        spec = f'{{"time": {{"column": "{times[0] if times else "..."}", "every": "{every}", "timezone": "{zone}"}}}}'
        more = f'; or metadata={{"{PARTITION_COLUMN}": "the column with the time, or with Dagster\'s key"}}'
    else:
        spec, more = '{"by": ["..."]}', f'; or metadata={{"{PARTITION_COLUMN}": "the column with Dagster\'s key"}}'
    return SpecError(
        f"{context.asset_key.to_user_string()}: the asset is partitioned, and nothing says by which of its columns: "
        f"{', '.join(schema.names)}",
        hint=f'write metadata=spec_metadata(DatasetSpec(uri="{uri}", partition={spec})){more}',
    )
