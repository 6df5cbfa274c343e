"""Retention: each tick looks for partitions past their retention and asks for a run that expires them.

A tick asks in batches, and not again for those that a run is busy with. What Dagster does not know as a partition, or
not any more, is asked for by the dataset's own key. The run key is made of the partitions and of the storage ids of
their latest materializations: the same request is never run twice, and a partition that was ingested again is a new
request. A request whose run failed is repeated a few times.

Where the description in the code differs from the stored one, the tick asks for a run that makes them one, and for
nothing else: what is due by another description is nobody's wish any more.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from dagster_project.failures import told_tick
from dagster_project.lake_asset import DATASET_TAG, LakeAsset
from dagster_project.lineage import downstreams_in
from dagster_project.partition_wipe import reconcile_status
from dagster_project.resources import LakeResource
from dagster_project.retention import Due, Retention
from pipelines.errors import TableNotFound

if TYPE_CHECKING:
    from pipelines.redescribing import RefusedField, SpecDiff

__all__ = ["ExpiryJob", "retention_sensor", "run_key"]

RUN_KEY_TAG: Final = "dagster/run_key"
KEYS_PER_RUN: Final = 500
ATTEMPTS: Final = 3
DESCRIPTION_TAG: Final = "tierlake/description"
"""Tag of runs that a tick asks for since the description changed: a digest of the change."""

REASONS_SHOWN: Final = 5
_BUSY: Final = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)


@dataclass(frozen=True, slots=True)
class ExpiryJob:
    """The job that a sensor asks for.

    Attributes:
        name: the job's name.
        op: the name of its op, which takes a configuration such as `upkeep.Expire`.
        said: what that configuration needs besides.
    """

    name: str
    op: str
    said: Mapping[str, str] = field(default_factory=dict)


def retention_sensor(asset: LakeAsset, job: ExpiryJob) -> dg.SensorDefinition:
    """The sensor that expires partitions of one dataset; it is off until somebody turns it on.

    Args:
        asset: the dataset's.
        job: what to ask for. Its runs are found again by the tag `tierlake/dataset`.
    """

    @dg.sensor(
        name=f"{asset.identifier}_retention",
        job_name=job.name,  # by name: Dagster warns of its own beta parameter where it swaps the job
        minimum_interval_seconds=300,
        description=f"Finds partitions of {asset.name} past their retention and asks for a run that expires them.",
    )
    @told_tick
    def tick(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SensorResult | dg.SkipReason:
        wrong = reconcile_status(context.instance, asset.asset_key, asset.partitions_def)
        if wrong:
            context.log.warning("the cached status of %d partitions was stale and has been cleared", len(wrong))
        try:
            dataset = asset.dataset_in(lake)
        except TableNotFound:
            return dg.SkipReason(f"{lake.uri(asset.name)} does not exist yet")
        today = lake.today()
        if dataset.is_described:
            diff = dataset.diff(asset.described_at(dataset), today, with_effect=False)
            if diff.differs and diff.is_in_use:
                return _described_anew(context.instance, asset, job, diff, today.isoformat() if today else None)
        waited_for = downstreams_in(context.repository_def, asset)
        due = Retention(context.instance, asset, dataset, waited_for).due(today)
        if due.unknown:
            shown = ", ".join(due.unknown[:5])
            context.log.info("%d due are no partitions of the asset: %s", len(due.unknown), shown)
        busy = _busy_keys(context.instance, asset, job)
        as_of = today.isoformat() if today else None
        requests = list(_requests(context.instance, asset, due, busy, job, as_of))
        if requests:
            return dg.SensorResult(run_requests=requests)
        return dg.SkipReason(_why_not(due, busy))

    return tick


def _described_anew(
    instance: dg.DagsterInstance, asset: LakeAsset, job: ExpiryJob, diff: "SpecDiff", as_of: str | None
) -> dg.SensorResult | dg.SkipReason:
    """Ask for a run that makes the description in the code the stored one, then expires by it."""
    changes = "; ".join(map(str, diff.changes))
    if diff.refused:
        return dg.SkipReason(f"the code describes {diff.uri} as it cannot be: {'; '.join(map(_refusal, diff.refused))}")
    digest = hashlib.sha256(changes.encode()).hexdigest()[:16]
    tags = {DATASET_TAG: asset.name, DESCRIPTION_TAG: digest}
    earlier = instance.get_runs(filters=dg.RunsFilter(job_name=job.name, tags=tags), limit=ATTEMPTS)  # newest first
    if earlier and earlier[0].status in _BUSY:
        return dg.SkipReason(f"a run is changing the description: {changes}")
    if len(earlier) == ATTEMPTS and all(run.status == dg.DagsterRunStatus.FAILURE for run in earlier):
        return dg.SkipReason(f"changing the description failed {ATTEMPTS} times, look at its runs: {changes}")
    number = instance.get_runs_count(filters=dg.RunsFilter(job_name=job.name, tags=tags))
    request = dg.RunRequest(
        run_key=f"{asset.name}:description:{digest}:{number}",
        run_config={"ops": {job.op: {"config": {**job.said, "as_of": as_of, "partitions": []}}}},
        tags=tags,
    )
    return dg.SensorResult(run_requests=[request])


def _refusal(field: "RefusedField") -> str:
    return f"{field.field}: {field.reason}"


def run_key(asset: LakeAsset, keys: Sequence[str], stamps: Mapping[str, int]) -> str:
    """Names a request by its partitions and the materializations, or changes, that it is about."""
    about = "\n".join(f"{key} {stamps.get(key, 0)}" for key in sorted(keys))
    digest = hashlib.sha256(about.encode()).hexdigest()[:16]
    return f"{asset.name}:{min(keys)}..{max(keys)}:{digest}"


def _requests(
    instance: dg.DagsterInstance,
    asset: LakeAsset,
    due: Due,
    busy: set[str],
    job: ExpiryJob,
    as_of: str | None,
) -> Iterator[dg.RunRequest]:
    for name, keys in (("partitions", due.keys), ("unknown", due.unknown)):
        wanted = [str(key) for key in keys if key not in busy]
        for start in range(0, len(wanted), KEYS_PER_RUN):
            batch = wanted[start : start + KEYS_PER_RUN]
            base = run_key(asset, batch, due.stamps)
            attempt = _failed_attempts(instance, base)
            if attempt < ATTEMPTS:
                yield dg.RunRequest(
                    run_key=f"{base}:{attempt}" if attempt else base,
                    run_config={"ops": {job.op: {"config": {**job.said, "as_of": as_of, name: batch}}}},
                    tags={DATASET_TAG: asset.name},
                )


def _failed_attempts(instance: dg.DagsterInstance, base: str) -> int:
    """How often the run of a request has failed; its run keys are numbered by it."""
    attempt = 0
    while attempt < ATTEMPTS:
        tag = f"{base}:{attempt}" if attempt else base
        only = dg.RunsFilter(tags={RUN_KEY_TAG: tag}, statuses=[dg.DagsterRunStatus.FAILURE])
        if not instance.get_runs(filters=only, limit=1):
            break
        attempt += 1
    return attempt


def _busy_keys(instance: dg.DagsterInstance, asset: LakeAsset, job: ExpiryJob) -> set[str]:
    """Partitions that unfinished expiry runs were asked to expire."""
    only = dg.RunsFilter(job_name=job.name, tags={DATASET_TAG: asset.name}, statuses=list(_BUSY))
    return {key for run in instance.get_runs(filters=only) for key in _asked_keys(run.run_config, job)}


def _asked_keys(run_config: Any, job: ExpiryJob) -> list[str]:
    """What a run was asked for by name; one that a person started may name none, and finds out itself."""
    said = run_config.get("ops", {}).get(job.op, {}).get("config", {})
    return [*said.get("partitions", ()), *said.get("unknown", ())]


def _why_not(due: Due, busy: set[str]) -> str:
    said, keys = [], [*due.keys, *due.unknown]
    if keys and set(keys) <= busy:
        said.append(f"a run is expiring {len(keys)} partitions")
    elif keys:
        said.append(f"{len(keys)} partitions are due, but their expiry failed {ATTEMPTS} times: look at its runs")
    else:
        said.append(f"nothing to expire as of {due.as_of:%Y-%m-%d}")
    for reason, count in Counter(due.refused.values()).most_common(REASONS_SHOWN):
        example = next(key for key, why in due.refused.items() if why == reason)
        said.append(f"{count} kept, {reason} ({example}{', ...' if count > 1 else ''})")
    if due.next_key and due.next_at:
        said.append(f"next is {due.next_key} on {due.next_at:%Y-%m-%d}")
    return "; ".join(said)
