"""Metadata and data versions of the assets of a running step, through Dagster's own step context.

The context that `failures.step_of` returns is none of the public ones, and offers more: the metadata so far, and a data
version before the event is made. Only this module uses that, and `tests/test_private_parts.py` names each attribute.

`StepExecutionContext.add_asset_metadata` computes all partition keys of the run on each call, which is quadratic: a
year of hours takes minutes. `add_partition_metadata` writes to the private attribute behind that call; on another minor
version, or where the attribute is of another type, it makes the public calls, one a partition.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dagster as dg

from tierlake.dagster_project.dagster_internals import AssetMetadataHandle, output_metadata, replace_output_metadata

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "add_metadata_once",
    "add_partition_metadata",
    "assets_of",
    "set_data_version",
    "upstream_of",
]


def assets_of(step: Any) -> frozenset[dg.AssetKey]:
    """The assets that a step makes; none for an op outside of assets."""
    return frozenset(step.assets_def.keys) if step.assets_def is not None else frozenset()


def upstream_of(step: Any) -> frozenset[dg.AssetKey]:
    """The assets that a step's assets are computed from."""
    if step.assets_def is None:
        return frozenset()
    return frozenset(key for keys in step.assets_def.asset_deps.values() for key in keys)


def add_metadata_once(step: Any, metadata: Mapping[str, str], keys: Iterable[dg.AssetKey]) -> None:
    """Add metadata to the materializations of a step, whatever stores them; earlier values stay."""
    for key in keys:
        before = step.get_asset_metadata(key) or {}
        if new := {name: value for name, value in metadata.items() if name not in before}:
            step.add_asset_metadata(new, key)


def set_data_version(step: Any, key: dg.AssetKey, version: str) -> None:
    """Set the data version of a step's output, where it has none; `dg.Output(data_version=...)` takes precedence."""
    if not step.has_data_version(key):
        step.set_data_version(key, dg.DataVersion(version))


def add_partition_metadata(step: Any, asset_key: dg.AssetKey, facts: Mapping[str, Mapping[str, Any]]) -> None:
    """Add metadata to the materializations of a step's partitions.

    Args:
        step: The running step's context.
        asset_key: The asset that it materializes.
        facts: Metadata by partition key; of partitions of the run.
    """
    noted = output_metadata(step)
    if noted is None:
        for key, own in facts.items():
            step.add_asset_metadata(own, asset_key, key)
        return
    added = dict(noted)
    for key, own in facts.items():
        handle = AssetMetadataHandle(asset_key=asset_key, partition_key=key)
        added[handle] = {**added.get(handle, {}), **own}
    replace_output_metadata(step, added)
