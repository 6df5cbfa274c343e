"""What an IO manager loads: the partitions that an input requests, and why one of them is not there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tierlake.connector.errors import LakeError
from tierlake.dagster_project.partitions.event_records import latest_storage_ids
from tierlake.dagster_project.partitions.keys import KeyNames
from tierlake.dagster_project.partitions.materializations import materialized
from tierlake.pipelines.errors import TableNotFound, UnknownPartition
from tierlake.pipelines.model.partition_key import PartitionKey, canonical

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import dagster as dg

    from tierlake.dagster_project.io.frames import InputType
    from tierlake.dagster_project.resources.lake import LakeResource
    from tierlake.pipelines import Dataset

__all__ = ["ALLOW_MISSING", "empty_input", "input_rows", "open_input", "present_keys", "requested_keys"]

ALLOW_MISSING: Final = "allow_missing_partitions"
"""Input metadata: read what is there, where some of the partitions are not."""

_NAMED: Final = 5


def open_input(lake: LakeResource, context: dg.InputContext) -> Dataset | None:
    """The dataset that an input is read from; None where it is not there, and no partition of it is requested.

    That is the case for the first partition of an asset that depends on its own earlier ones.

    Raises:
        TableNotFound: It is not there.
    """
    try:
        return lake.dataset("/".join(context.asset_key.path))
    except TableNotFound:
        if not context.has_asset_partitions:
            raise
        if context.definition_metadata.get(ALLOW_MISSING) or not list(context.asset_partition_keys):
            return None
        raise


def requested_keys(context: dg.InputContext, dataset: Dataset) -> dict[str, PartitionKey] | None:
    """The partitions that an input requests, by Dagster's key; None where the asset has none.

    Raises:
        SpecError: Asset and dataset do not have the same partitions.
    """
    if not context.has_asset_partitions:
        return None
    name = context.asset_key.to_user_string()
    names = KeyNames.of(name, dataset.spec.partition, context.asset_partitions_def)
    return {key: names.to_lake(key) for key in context.asset_partition_keys}


def present_keys(
    context: dg.InputContext, dataset: Dataset, requested: Mapping[str, PartitionKey]
) -> dict[str, PartitionKey]:
    """The requested partitions that are there; one that was materialized without rows is.

    Raises:
        UnknownPartition: One is not, and the input does not allow that; the message has the reason.
    """
    contents = dataset.contents()
    live = {canonical(key, contents.schema) for key in contents.rows}
    absent = [key for key, lake_key in requested.items() if canonical(lake_key, contents.schema) not in live]
    if not absent:
        return dict(requested)
    shown = latest_storage_ids(context.instance, context.asset_key, absent)
    latest = materialized(context.instance, context.asset_key, shown.values())
    missing = [key for key in absent if key not in latest or latest[key].rows != 0]
    if missing:
        message = f"{dataset.uri} lacks {len(missing)} of {len(requested)} partitions"
        if not context.definition_metadata.get(ALLOW_MISSING):
            reasons = _reasons(dataset, {key: requested[key] for key in missing}, shown)
            hint = (
                "materialize them, or bring them back with `tierlake undo`; to go on without: "
                f"AssetIn(metadata={{{ALLOW_MISSING!r}: True}})"
            )
            raise UnknownPartition(f"{message}: {_some(reasons)}", hint=hint)
        context.log.warning("%s: %s", message, _some(sorted(missing)))
    gone = set(missing)
    return {key: lake_key for key, lake_key in requested.items() if key not in gone}


def input_rows(
    input_type: InputType,
    dataset: Dataset,
    columns: Sequence[str] | None,
    present: Mapping[str, PartitionKey] | None,
) -> object:
    """The rows of some partitions in an input's type.

    Raises:
        TypeError: A dict by partition key of an asset that has no partitions, or chosen columns of a pyarrow dataset.
    """
    names = None if columns is None else list(columns)
    if names is not None and input_type.kind == "pyarrow.Dataset":
        message = f"{dataset.uri} is loaded as a pyarrow.dataset.Dataset, which has all columns"
        raise TypeError(f"{message}: leave `columns` out of the input's metadata, and pass them to its to_table()")
    if not input_type.by_key:
        return input_type.read(dataset, names, None if present is None else list(present.values()))
    if present is None:
        raise TypeError(f"a dict is by partition key, and {dataset.uri} is loaded as one: annotate {input_type.kind}")
    if input_type.is_lazy:
        with dataset.one_look():
            return {key: input_type.read(dataset, names, [lake_key]) for key, lake_key in present.items()}
    from tierlake.pipelines.query.read import by_partition

    by = dataset.spec.partition.columns
    read = None if names is None else [*names, *(name for name in by if name not in names)]
    rows = dataset.read(read, keys=present.values())
    parts = by_partition(rows, by)
    own = rows.schema.names if names is None else names
    empty = rows.slice(0, 0).select(own)
    of_key = {key: parts.get(canonical(lake_key, rows.schema)) for key, lake_key in present.items()}
    return {key: input_type.of(empty if part is None else part.select(own)) for key, part in of_key.items()}


def empty_input(input_type: InputType) -> object:
    """The input where there is no table yet: no rows, and no columns."""
    import pyarrow as pa

    return {} if input_type.by_key else input_type.of(pa.schema([]).empty_table())


def _some(names: list[str]) -> str:
    return f"{', '.join(names[:_NAMED])}{', ...' if len(names) > _NAMED else ''}"


def _reasons(dataset: Dataset, missing: Mapping[str, PartitionKey], shown: Mapping[str, Any]) -> list[str]:
    try:
        gone = dataset.why_gone(missing.values())
    except (LakeError, OSError):  # a reader's rights may end before the journal
        gone = {}
    reasons = {key: gone.get(lake_key) for key, lake_key in missing.items()}
    otherwise = {True: "gone, though Dagster shows it as materialized", False: "never written"}
    return [f"{key} ({reason or otherwise[key in shown]})" for key, reason in sorted(reasons.items())]
