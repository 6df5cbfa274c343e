"""Metadata of each partition of a step, for thousands of them at once.

`StepExecutionContext.add_asset_metadata` computes all partition keys of the run on each call, which is quadratic: a
year of hours takes minutes (seen with Dagster 1.13.27). Only this module touches the private attribute that the call
ends up in. On another minor version, or where the attribute is not what it was, it makes the public calls, one a
partition.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import dagster as dg
from dagster._core.execution.context.metadata_logging import AssetMetadataHandle, OutputMetadataAccumulator

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["TESTED_DAGSTER_VERSION", "add_partition_metadata"]

TESTED_DAGSTER_VERSION: Final = "1.13.27"
"""The version this was tried on; other patch releases of its minor version are taken as equal."""

_ATTRIBUTE: Final = "_metadata_accumulator"


def add_partition_metadata(step: Any, asset_key: dg.AssetKey, facts: Mapping[str, Mapping[str, Any]]) -> None:
    """Add metadata to the materializations of a step's partitions.

    Args:
        step: the running step's context.
        asset_key: the asset that it materializes.
        facts: metadata by partition key; of partitions of the run.
    """
    before = getattr(step, _ATTRIBUTE, None)
    is_known = dg.__version__.split(".")[:2] == TESTED_DAGSTER_VERSION.split(".")[:2]
    if not is_known or not isinstance(before, OutputMetadataAccumulator):
        for key, own in facts.items():
            step.add_asset_metadata(own, asset_key, key)
        return
    added = dict(before.per_output_metadata)
    for key, own in facts.items():
        handle = AssetMetadataHandle(asset_key=asset_key, partition_key=key)
        added[handle] = {**added.get(handle, {}), **own}
    setattr(step, _ATTRIBUTE, OutputMetadataAccumulator(per_output_metadata=added))
