"""Metadata that follows the table: what a partition is now, told where its materialization says what it was.

Tiering, compaction and expiry change no row, so they make no materialization and no data version. Each partition that
one of them has touched gets an observation with its files, bytes and classes of now, which its page shows beside the
materialization; the asset gets one with the numbers of the whole table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from dagster_project.materializations import STATE
from dagster_project.metadata import partition_metadata

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from dagster_project.lake_asset import LakeAsset
    from pipelines import Dataset
    from pipelines.layout import PartitionKey

__all__ = ["FOLLOWED", "observations"]

FOLLOWED: Final = {"tier": "moved to another tier", "compact": "compacted", "expire": "expired", "drop": "dropped"}
"""Acts that change no row of what is in the table and still change what is true of it, each in words."""


def observations(
    asset: LakeAsset, dataset: Dataset, touched: Mapping[PartitionKey, str], run_id: str | None = None
) -> Iterator[dg.AssetObservation]:
    """What is true now of partitions that were touched, and of the table.

    Args:
        asset: the dataset's asset.
        dataset: the open dataset.
        touched: partitions, each with what was done, in words; those that the table has not any more are left out.
        run_id: the run that did it.
    """
    state, catalog = dataset.state(), dataset.partitions()
    by: dict[str, Any] = {"run": dg.MetadataValue.dagster_run(run_id)} if run_id else {}
    for part in catalog:
        name = asset.keys.find_dagster(part.key)
        if part.key in touched and name is not None:
            metadata = {"dagster/uri": dataset.uri, STATE: state, **partition_metadata([part]), **by}
            yield dg.AssetObservation(
                asset.asset_key, partition=str(name), description=touched[part.key], metadata=metadata
            )
    total = catalog.total
    facts: dict[str, Any] = {
        "dagster/uri": dataset.uri,
        STATE: state,
        "partitions": total.partitions,
        "table_bytes": total.bytes,
        "storage_class": "+".join(_classes(part.storage_class for part in catalog)) or "none: no rows",
        **by,
    }
    if total.rows is not None:
        facts["dagster/row_count"] = total.rows
    yield dg.AssetObservation(asset.asset_key, description="the table as it is now", metadata=facts)


def _classes(joined: Iterable[str]) -> list[str]:
    return sorted({name for one in joined for name in one.split("+")})
