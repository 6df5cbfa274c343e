"""The jobs of one dataset, for anybody's project: policy, tiering, expiry and its undo, restores of what is archived.

`flights_policy`, `flights_tiering`, `flights_expiry`, `flights_undo_expiry`, `flights_restore`: they need
nothing but a `LakeResource` named `lake`.
"""

import dagster as dg

from tierlake.dagster_project.automation import ops
from tierlake.dagster_project.partitions.lake_asset import DATASET_TAG, LakeAsset
from tierlake.dagster_project.resources.failures import tell_dagster
from tierlake.dagster_project.resources.lake import LakeResource

__all__ = ["expiry_job", "policy_job", "restore_job", "tiering_job", "undo_job"]


def policy_job(asset: LakeAsset) -> dg.JobDefinition:
    """Makes the description in the code the one that is stored with the dataset."""
    name = f"{asset.identifier}_policy"

    @dg.op(name=f"{name}_op", pool=asset.pool)
    def describe(context: dg.OpExecutionContext, lake: LakeResource) -> None:
        with tell_dagster(context):
            changed = ops.describe(context, asset, asset.dataset_in(lake))
            context.add_output_metadata({"changed": len(changed), "description": dg.MetadataValue.json(changed)})

    return _job(asset, name, describe, f"Makes the description of {asset.name} in the code the stored one.")


def tiering_job(asset: LakeAsset) -> dg.JobDefinition:
    """Moves a dataset's partitions to the tiers where their age puts them."""
    name = f"{asset.identifier}_tiering"

    @dg.op(name=f"{name}_op", pool=asset.pool)
    def move(context: dg.OpExecutionContext, config: ops.MoveToTiers, lake: LakeResource) -> None:
        with tell_dagster(context):
            as_of = ops.day_of(config, lake)
            result, facts = ops.move_to_tiers(context, asset, asset.dataset_in(lake), as_of)
            context.add_output_metadata(facts)
            result.raise_failures()

    return _job(asset, name, move, f"Moves partitions of {asset.name} to the tiers where their age puts them.")


def expiry_job(asset: LakeAsset) -> dg.JobDefinition:
    """Takes a dataset's partitions past their retention out of the table."""
    name = f"{asset.identifier}_expiry"

    @dg.op(name=f"{name}_op", pool=asset.pool)
    def expire(context: dg.OpExecutionContext, config: ops.Expire, lake: LakeResource) -> None:
        with tell_dagster(context):
            ops.expire(context, ops.retention_of(context, lake, asset), config, ops.day_of(config, lake))

    return _job(
        asset, name, expire, f"Takes partitions of {asset.name} past their retention out; can be undone for a while."
    )


def undo_job(asset: LakeAsset) -> dg.JobDefinition:
    """Brings an expired partition of a dataset back, within its grace."""
    name = f"{asset.identifier}_undo_expiry"

    @dg.op(name=f"{name}_op", pool=asset.pool)
    def undo(context: dg.OpExecutionContext, config: ops.Undo, lake: LakeResource) -> None:
        with tell_dagster(context):
            ops.bring_back(context, ops.retention_of(context, lake, asset), config)

    return _job(asset, name, undo, f"Brings an expired partition of {asset.name} back, within its grace.")


def restore_job(asset: LakeAsset) -> dg.JobDefinition:
    """Asks for archived partitions of a dataset; `restores.restore_sensor` tells when they can be read."""
    name = f"{asset.identifier}_restore"

    @dg.op(name=f"{name}_op", pool=asset.pool)
    def restore(context: dg.OpExecutionContext, config: ops.Restore, lake: LakeResource) -> None:
        with tell_dagster(context):
            ops.restore(context, asset, asset.dataset_in(lake), config)

    return _job(asset, name, restore, f"Asks for archived partitions of {asset.name}; that costs, and takes hours.")


def _job(asset: LakeAsset, name: str, op: dg.OpDefinition, description: str) -> dg.JobDefinition:
    graph = dg.GraphDefinition(name=name, node_defs=[op])
    return graph.to_job(description=description, tags={DATASET_TAG: asset.name})
