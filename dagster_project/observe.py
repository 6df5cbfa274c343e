"""A dataset that somebody else writes: each tick tells Dagster what its table has.

New and changed partitions are reported as materialized, with their numbers as metadata; those that have left the table
no longer show. So automation, backfills of what is downstream and retention work on it as on an asset of one's own.

What a partition holds is known by its data version: a digest of the number of its rows and of when they changed. A
compaction, a change of tier and a restore change no row. Where others compact, the files' times do not say so, and the
log does: the cursor remembers which state of the table has been looked at, and which partitions are what they were
though their digest is another. What it has forgotten is reported once more.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

import dagster as dg

from dagster_project.lake_asset import LakeAsset
from dagster_project.metadata import partition_metadata
from dagster_project.partition_wipe import latest_data_versions, latest_storage_ids, newest_storage_id, wipe_partitions
from dagster_project.partitions import known_keys, unknown_values
from dagster_project.resources import LakeResource
from pipelines.catalog import PartitionInfo
from pipelines.errors import TableNotFound

if TYPE_CHECKING:
    from pipelines import Dataset

__all__ = ["observation_sensor"]

REPORTS_PER_TICK: Final = 1000
"""A tick has a minute; the rest follows with the next."""

REMEMBERED: Final = 20_000
"""Partitions that the cursor holds; with more it begins anew."""

_SHOWN: Final = 5
_LOOKS: Final = 3
_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class _Cursor:
    """What the sensor remembers.

    Attributes:
        state: the table's, as it was looked at; empty where it is not known.
        same: partitions whose digest is another than the reported one, though their rows are the same; by key.
        behind: partitions whose change has not been reported yet.
    """

    state: str = ""
    same: Mapping[str, str] = field(default_factory=dict)
    behind: frozenset[str] = frozenset()

    @classmethod
    def read(cls, text: str | None) -> Self:
        said = json.loads(text) if text else {}
        if said.get("version") != _VERSION:
            return cls()
        return cls(said["state"], said["same"], frozenset(said["behind"]))

    def __str__(self) -> str:
        if len(self.same) + len(self.behind) > REMEMBERED:
            return str(_Cursor())
        said = {"state": self.state, "same": dict(self.same), "behind": sorted(self.behind)}
        return json.dumps({"version": _VERSION, **said})


def observation_sensor(asset: LakeAsset) -> dg.SensorDefinition:
    """The sensor that reports what a dataset's table has; it is off until somebody turns it on."""

    @dg.sensor(
        name=f"{asset.identifier}_observation",
        minimum_interval_seconds=300,
        description=f"Tells Dagster which partitions of {asset.name} are there, whoever writes them.",
    )
    def tick(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SensorResult:
        before = newest_storage_id(context.instance)
        try:
            dataset = asset.dataset_in(lake)
        except TableNotFound:
            return dg.SensorResult(skip_reason=f"{lake.uri(asset.name)} does not exist yet")
        state, parts = _look(dataset)
        live = {name: part for part in parts if (name := asset.keys.find_dagster(part.key)) is not None}
        gone = sorted(set(latest_storage_ids(context.instance, asset.asset_key)) - {str(key) for key in live})
        wipe_partitions(context.instance, asset.asset_key, gone, up_to=before)

        seen = latest_data_versions(context.instance, asset.asset_key)
        cursor = _Cursor.read(context.cursor)
        changed, same = _changed(dataset, live, seen, cursor)
        added = unknown_values(changed, asset.partitions_def, context.instance)
        known, unknown = known_keys(changed, asset.partitions_def, context.instance, added)
        if unknown:
            context.log.warning("%d keys are no partitions of the asset: %s", len(unknown), ", ".join(unknown[:_SHOWN]))
        later = {str(key) for key in [*known[REPORTS_PER_TICK:], *unknown]}
        after = str(_Cursor(state, same, frozenset(later)))
        if not known and not gone:
            why = f"all {len(live)} partitions are as they were"
            return dg.SensorResult(skip_reason=why, cursor=after)
        if len(known) > REPORTS_PER_TICK:
            context.log.info("%d of %d partitions now, the rest with the next ticks", REPORTS_PER_TICK, len(known))
        return dg.SensorResult(
            asset_events=list(_reports(asset, known[:REPORTS_PER_TICK], live, dataset.uri, seen, state)),
            dynamic_partitions_requests=[
                dg.AddDynamicPartitionsRequest(name, sorted(values)) for name, values in added.items()
            ],
            cursor=after,
        )

    return tick


def _look(dataset: "Dataset") -> tuple[str, Sequence[PartitionInfo]]:
    """The partitions, and the state of the table that has them; an older one where others keep changing it."""
    state, parts = dataset.state(), dataset.partitions()
    for _ in range(_LOOKS):
        if not dataset.changed_after(state):
            break
        state, parts = dataset.state(), dataset.partitions()
    return state, parts


def _changed(
    dataset: "Dataset", live: Mapping[str, PartitionInfo], seen: Mapping[str, str], cursor: _Cursor
) -> tuple[list[str], dict[str, str]]:
    """Partitions with other rows than were reported, and those that are the same under another digest."""
    digests = {key: _data_version(part) for key, part in live.items()}
    same = {key: digest for key, digest in cursor.same.items() if digests.get(key) == digest and seen.get(key)}
    other = {key for key, digest in digests.items() if digest not in {seen.get(key), same.get(key)}}
    rows = dataset.changed_after(cursor.state)
    if rows is None:
        return [key for key in live if key in other], same
    unchanged = {key for key in other if seen.get(key) and key not in cursor.behind and live[key].key not in rows}
    same |= {str(key): digests[key] for key in unchanged}
    return [key for key, part in live.items() if key in other - unchanged or part.key in rows], same


def _reports(
    asset: LakeAsset,
    keys: Sequence[str],
    live: Mapping[str, PartitionInfo],
    uri: str,
    seen: Mapping[str, str],
    state: str,
) -> Iterable[dg.AssetMaterialization]:
    for key in keys:
        version = _data_version(live[key])
        if version == seen.get(key):  # the log says that rows have changed, and the files' times do not
            version = _digest(f"{version} {state}")
        tags = {"dagster/data_version": version}
        if isinstance(key, dg.MultiPartitionKey):
            tags |= {f"dagster/partition/{name}": value for name, value in key.keys_by_dimension.items()}
        metadata: dict[str, Any] = {"dagster/uri": uri, **partition_metadata([live[key]])}
        yield dg.AssetMaterialization(
            asset.asset_key, partition=str(key), metadata=metadata, tags=tags, description="seen in the table"
        )


def _data_version(part: PartitionInfo) -> str:
    size = f"{part.files} {part.bytes}" if part.rows is None else part.rows
    return _digest(f"{size} {part.changed.isoformat()}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
