"""Metadata of assets and materializations: pure functions from tierlake's values to Dagster's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from tierlake.connector.documents import UnreadableDocument, json_object
from tierlake.connector.observe.edges import reporting
from tierlake.dagster_project.partitions.keys import KeyNames
from tierlake.pipelines.errors import SpecError
from tierlake.pipelines.model.spec import DatasetSpec
from tierlake.pipelines.runtime import formatting

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from tierlake.pipelines.ingest.results import IngestResult, Written
    from tierlake.pipelines.query.catalog import PartitionInfo
    from tierlake.pipelines.query.contents import Contents

__all__ = [
    "LINEAGE",
    "PARTITION_ROWS",
    "PREVIEW_ROWS",
    "REASON",
    "SPEC",
    "STATE",
    "column_lineage",
    "column_schema",
    "partition_metadata",
    "spec_metadata",
    "spec_of",
    "table_metadata",
    "written_metadata",
]

PARTITION_ROWS: Final = "dagster/partition_row_count"
"""Of materializations: the partition's row count. 0 distinguishes a partition without rows from one that is gone."""

STATE: Final = "tierlake/state"
"""Of materializations: the state of the table that they describe, as `Dataset.state` names it."""

_NO_ROWS: Final = "none: no rows"

PREVIEW_ROWS: Final = "tierlake/preview_rows"
"""Definition metadata: how many rows its materializations show, where the IO manager's own number does not count."""

SPEC: Final = "tierlake/spec"
"""Definition metadata: the dataset's spec, by which the IO manager creates it."""

REASON: Final = "as the code location describes it"
"""Of changes of descriptions, in the history."""

LINEAGE: Final = "dagster/column_lineage"
"""Definition metadata: which columns each column comes from. The IO manager repeats it on each materialization, where
the UI looks for it."""


def column_lineage(columns: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Definition metadata for the lineage of an asset's columns.

    Args:
        columns: For each column the ones that it is made of, as `asset.column`.
    """
    return {LINEAGE: dg.TableColumnLineage({name: [_dep(source) for source in of] for name, of in columns.items()})}


def _dep(source: str) -> dg.TableColumnDep:
    asset, _, column = source.rpartition(".")
    return dg.TableColumnDep(dg.AssetKey(asset.split("/")), column)


@reporting
def spec_metadata(spec: DatasetSpec, partitions_def: dg.PartitionsDefinition[str] | None = None) -> dict[str, Any]:
    """Definition metadata of the asset that stands for a dataset.

    Args:
        spec: The dataset's description.
        partitions_def: The asset's; given here too, it is checked when the definitions are loaded instead of when the
            first rows come.

    Raises:
        SpecError: The two do not have the same partitions.
    """
    if partitions_def is not None:
        KeyNames.of(spec.root.partition("/")[2], spec.partition, partitions_def)
    return {SPEC: dg.MetadataValue.json(spec.model_dump(mode="json"))}


def spec_of(definition_metadata: Mapping[str, Any]) -> DatasetSpec | None:
    """The spec that `spec_metadata` put there; None without one.

    Raises:
        SpecError: It is not a valid spec.
    """
    value = definition_metadata.get(SPEC)
    if value is None:
        return None
    data = value.data if isinstance(value, dg.JsonMetadataValue) else value
    try:
        fields = json_object(data) if isinstance(data, str) else data
    except UnreadableDocument:
        fields = None
    if not isinstance(fields, dict):
        raise SpecError(f"{SPEC} is not a dataset's spec", hint="write metadata=spec_metadata(DatasetSpec(...))")
    return DatasetSpec(**fields)


def column_schema(schema: pa.Schema, keys: tuple[str, ...]) -> dg.TableSchema:
    """The table's columns as Dagster shows them; partition columns are tagged."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                field.name,
                str(field.type),
                constraints=dg.TableColumnConstraints(nullable=field.nullable),
                tags={"tierlake/partition": ""} if field.name in keys else None,
            )
            for field in schema
        ]
    )


def table_metadata(spec: DatasetSpec, contents: Contents | None, result: IngestResult) -> dict[str, Any]:
    """Metadata of the whole table after an ingest.

    Args:
        spec: The dataset's.
        contents: What is in it; None where the store does not answer now.
        result: The result of the ingest.
    """
    facts: dict[str, Any] = {
        "dagster/uri": spec.uri,
        "encryption": spec.write.encryption,
        "format": spec.format,
        "run_key": result.run_key,
        "rejected_rows": result.rejected,
    }
    if contents is not None:
        facts |= {"table_bytes": contents.bytes, "table_size": formatting.size(contents.bytes)}
        if contents.schema is not None:
            facts["dagster/column_schema"] = column_schema(contents.schema, spec.partition.columns)
        if contents.total_rows is not None:
            facts["dagster/row_count"] = contents.total_rows
    if result.version:
        facts["table_version"] = result.version
    if result.rejects_path:
        facts["rejects"] = dg.MetadataValue.path(f"lake://{result.rejects_path}")
    return facts


def written_metadata(parts: Sequence[Written]) -> dict[str, Any]:
    """Metadata of partitions together that an ingest has replaced; zeros where it wrote nothing."""
    classes = sorted({name for part in parts for name in (part.storage_class or "").split("+") if name})
    size = sum(part.bytes for part in parts)
    return {
        "files": sum(part.files for part in parts),
        "bytes": size,
        "size": formatting.size(size),
        "storage_class": "+".join(classes) or _NO_ROWS,
        PARTITION_ROWS: sum(part.rows for part in parts),
    }


def partition_metadata(partitions: list[PartitionInfo]) -> dict[str, Any]:
    """Metadata of the given partitions together; zeros where there are none."""
    rows = [partition.rows for partition in partitions]
    classes = sorted({name for partition in partitions for name in partition.storage_class.split("+")})
    tiers = {partition.tier for partition in partitions}
    size = sum(partition.bytes for partition in partitions)
    facts: dict[str, Any] = {
        "files": sum(partition.files for partition in partitions),
        "bytes": size,
        "size": formatting.size(size),
        "storage_class": "+".join(classes) or _NO_ROWS,
    }
    if tiers and None not in tiers:
        facts["tier"] = "+".join(sorted(filter(None, tiers)))
    known = [count for count in rows if count is not None]
    if len(known) == len(rows):
        facts[PARTITION_ROWS] = sum(known)
    return facts
