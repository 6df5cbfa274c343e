"""Three ways in which Dagster says which partitions are available: they have to agree."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget, PythonFileTarget
from dagster_graphql.test.utils import execute_dagster_graphql

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

STATUS_QUERY = """
query($path: [String!]!) {
  assetNodes(assetKeys: [{path: $path}]) {
    partitionStats { numMaterialized numPartitions numFailed }
    assetPartitionStatuses {
      __typename
      ... on DefaultPartitionStatuses { materializedPartitions }
      ... on TimePartitionStatuses { ranges { startKey endKey status } }
      ... on MultiPartitionStatuses {
        primaryDimensionName
        ranges {
          primaryDimStartKey primaryDimEndKey
          secondaryDim {
            ... on DefaultPartitionStatuses { materializedPartitions }
            ... on TimePartitionStatuses { ranges { startKey endKey status } }
          }
        }
      }
    }
  }
}
"""


@contextmanager
def workspace(
    instance: dg.DagsterInstance, target: Path | str, attribute: str | None = None
) -> Iterator[WorkspaceProcessContext]:
    """What the UI serves: definitions in a process of their own, and the instance."""
    loaded = (
        ModuleTarget(target, attribute, None, "tests")
        if isinstance(target, str)
        else PythonFileTarget(str(target), attribute, None, "tests")
    )
    with WorkspaceProcessContext(instance, loaded, version="") as context:
        yield context


def ask(context: WorkspaceProcessContext, query: str, **variables: Any) -> Any:
    return execute_dagster_graphql(context.create_request_context(), query, variables).data


def _of_dimension(
    status: dict[str, Any], partitions_def: dg.PartitionsDefinition, instance: dg.DagsterInstance
) -> set[str]:
    if "materializedPartitions" in status:
        return set(status["materializedPartitions"])
    keys = partitions_def.get_partition_keys(dynamic_partitions_store=instance)
    found: set[str] = set()
    for span in status["ranges"]:
        if span["status"] == "MATERIALIZED":
            found |= set(keys[keys.index(span["startKey"]) : keys.index(span["endKey"]) + 1])
    return found


def in_graphql(context: WorkspaceProcessContext, asset: str, partitions_def: dg.PartitionsDefinition) -> set[str]:
    """The available partitions as the UI draws them; the status bar's count is checked too."""
    (node,) = ask(context, STATUS_QUERY, path=[asset])["assetNodes"]
    status = node["assetPartitionStatuses"]
    if isinstance(partitions_def, dg.MultiPartitionsDefinition):
        by_name = {part.name: part.partitions_def for part in partitions_def.partitions_defs}
        primary = status["primaryDimensionName"]
        (secondary,) = by_name.keys() - {primary}
        outer = by_name[primary].get_partition_keys(dynamic_partitions_store=context.instance)
        found = set()
        for span in status["ranges"]:
            first, last = span["primaryDimStartKey"], span["primaryDimEndKey"]
            inner = _of_dimension(span["secondaryDim"], by_name[secondary], context.instance)
            for key in outer[outer.index(first) : outer.index(last) + 1]:
                found |= {str(dg.MultiPartitionKey({primary: key, secondary: v})) for v in inner}
    else:
        found = _of_dimension(status, partitions_def, context.instance)
    assert node["partitionStats"]["numMaterialized"] == len(found)
    return found


def in_status(
    instance: dg.DagsterInstance, asset: str | Sequence[str], partitions_def: dg.PartitionsDefinition
) -> set[str]:
    """The available partitions by the status cache, as sensors, backfills and the UI read them."""
    keys = partitions_def.get_partition_keys(dynamic_partitions_store=instance)
    statuses = instance.get_status_by_partition(dg.AssetKey(asset), keys, partitions_def) or {}
    return {k for k, status in statuses.items() if status is dg.AssetPartitionStatus.MATERIALIZED}


def as_if_made(instance: dg.DagsterInstance, asset: str, keys: Iterable[str]) -> None:
    """Events as after a run, without the run."""
    for key in keys:
        instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition=key))


def available(
    instance: dg.DagsterInstance, asset: str | Sequence[str], partitions_def: dg.PartitionsDefinition
) -> set[str]:
    """The available partitions by events and by status cache, which must agree."""
    by_events = set(map(str, instance.get_materialized_partitions(dg.AssetKey(asset))))
    by_status = in_status(instance, asset, partitions_def)
    assert by_status == by_events
    return by_events
