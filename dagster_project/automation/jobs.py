"""The jobs of one dataset: ingest, policy, tiering, expiry and its undo, restores of archived partitions.

`flights_job`, `flights_policy`, `flights_tiering`, `flights_expiry`, `flights_undo_expiry`, `flights_restore`: they
need nothing but a `LakeResource` named `lake`. All but the first and the policy's take the partition that is selected
at the launchpad, beside those of the run's configuration.

Dagster lists at an asset the jobs that materialize it, and takes the launchpad from those it lists. None of these
materializes, so the asset's definition has links to their launchpads instead (`job_links`), and each job one back.
"""

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import dagster as dg

from tierlake.dagster_project.automation import ops
from tierlake.dagster_project.automation.config import (
    ExpiryConfig,
    RestoreConfig,
    TieringConfig,
    UndoConfig,
    op_name,
)
from tierlake.dagster_project.partitions.lake_asset import DATASET_TAG, LakeAsset
from tierlake.dagster_project.resources.failures import dagster_failures
from tierlake.dagster_project.resources.lake import LakeResource

__all__ = [
    "JOBS",
    "UnresolvedJob",
    "expiry_job",
    "ingest_job",
    "job_links",
    "policy_job",
    "restore_job",
    "tiering_job",
    "undo_job",
]

JOBS: Final = "jobs"
"""Definition metadata of the asset: links to its jobs."""

UnresolvedJob: TypeAlias = Any
"""What `dagster.define_asset_job` returns; Dagster exports no name for it."""


def ingest_job(asset: LakeAsset) -> UnresolvedJob:
    """Materializes the dataset's asset, where this code location writes it."""
    selection = dg.AssetSelection.assets(asset.asset_key)
    tags = {DATASET_TAG: asset.name}
    return dg.define_asset_job(asset.definition_name("job"), selection, description=f"Ingests {asset.name}.", tags=tags)


def policy_job(asset: LakeAsset) -> dg.JobDefinition:
    """Makes the description in the code the one that is stored with the dataset."""
    name = asset.definition_name("policy")

    @dg.op(name=op_name(name), pool=asset.pool)
    def describe(context: dg.OpExecutionContext, lake: LakeResource) -> None:
        with dagster_failures(context):
            changed = ops.describe(context, asset, asset.dataset_in(lake))
            context.add_output_metadata({"changed": len(changed), "description": dg.MetadataValue.json(changed)})

    text = f"Makes the description of {asset.name} in the code the stored one."
    return _job(asset, name, describe, text, is_by_partition=False)


def tiering_job(asset: LakeAsset) -> dg.JobDefinition:
    """Moves a dataset's partitions to the tiers where their age puts them."""
    name = asset.definition_name("tiering")

    @dg.op(name=op_name(name), pool=asset.pool)
    def move(context: dg.OpExecutionContext, config: TieringConfig, lake: LakeResource) -> None:
        with dagster_failures(context):
            ops.move_to_tiers(context, asset, asset.dataset_in(lake), config, ops.day_of(config, lake))

    return _job(asset, name, move, f"Moves partitions of {asset.name} to the tiers where their age puts them.")


def expiry_job(asset: LakeAsset) -> dg.JobDefinition:
    """Takes a dataset's partitions past their retention out of the table."""
    name = asset.definition_name("expiry")

    @dg.op(name=op_name(name), pool=asset.pool)
    def expire(context: dg.OpExecutionContext, config: ExpiryConfig, lake: LakeResource) -> None:
        with dagster_failures(context):
            ops.expire(context, ops.retention_of(context, lake, asset), config, ops.day_of(config, lake))

    return _job(
        asset, name, expire, f"Takes partitions of {asset.name} past their retention out; can be undone for a while."
    )


def undo_job(asset: LakeAsset) -> dg.JobDefinition:
    """Brings expired partitions of a dataset back, within their grace."""
    name = asset.definition_name("undo_expiry")

    @dg.op(name=op_name(name), pool=asset.pool)
    def undo(context: dg.OpExecutionContext, config: UndoConfig, lake: LakeResource) -> None:
        with dagster_failures(context):
            ops.undo_expiry(context, ops.retention_of(context, lake, asset), config)

    return _job(asset, name, undo, f"Brings expired partitions of {asset.name} back, within their grace.")


def restore_job(asset: LakeAsset) -> dg.JobDefinition:
    """Requests archived partitions of a dataset; `restores.restore_sensor` reports when they can be read."""
    name = asset.definition_name("restore")

    @dg.op(name=op_name(name), pool=asset.pool)
    def restore(context: dg.OpExecutionContext, config: RestoreConfig, lake: LakeResource) -> None:
        with dagster_failures(context):
            ops.restore(context, asset, asset.dataset_in(lake), config)

    return _job(asset, name, restore, f"Requests archived partitions of {asset.name}; that costs, and takes hours.")


def _job(
    asset: LakeAsset, name: str, op: dg.OpDefinition, description: str, *, is_by_partition: bool = True
) -> dg.JobDefinition:
    graph = dg.GraphDefinition(name=name, node_defs=[op])
    return graph.to_job(
        description=description,
        tags={DATASET_TAG: asset.name},
        metadata={"asset": dg.MetadataValue.asset(asset.asset_key)},
        partitions_def=asset.partitions_def if is_by_partition else None,
    )


def job_links(asset: LakeAsset, jobs: Mapping[str, str]) -> dict[str, Any]:
    """Definition metadata of the asset: links to the launchpads of its jobs.

    Args:
        asset: The dataset's asset.
        jobs: By verb, what the job does.
    """
    names = {asset.definition_name(verb): text for verb, text in jobs.items()}
    # Dagster's own redirect: a definition does not know the name of its code location
    lines = [f"- [{name}](/guess/{name}/playground): {text}" for name, text in names.items()]
    return {JOBS: dg.MetadataValue.md("\n".join(lines))} if lines else {}
