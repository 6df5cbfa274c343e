"""What a materialization was made of: the state of each dataset that its step read, on the event itself.

    tierlake/read/<dataset>     `Dataset.state()` before the rows were read; the oldest, where they were read again

The IO manager records what it loads. An asset that reads by hand calls `report_read`:

    @dg.asset(deps=["flights"])
    def report(context: dg.AssetExecutionContext, lake: LakeResource) -> None:
        flights = report_read(context, lake.dataset("flights"))
        rows = flights.read(...)

Of an event without such a record, Dagster knows when its step began, and of one that was reported without a run, when
that was: earlier rows of the dataset may have been read, later ones were not.

A wipe takes the event away, and its observation carries these facts on (`read_facts`): what an expired partition has
read stays known.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from tierlake.dagster_project.partitions.event_records import (
    OBSERVATION,
    PAGE,
    event_records,
    latest_storage_ids,
    pages,
)
from tierlake.dagster_project.resources.failures import step_of
from tierlake.dagster_project.resources.steps import add_metadata_once, assets_of, upstream_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from tierlake.pipelines import Dataset

__all__ = [
    "BEGAN",
    "READ",
    "Read",
    "latest_reads",
    "read_facts",
    "record_read",
    "report_read",
    "run_starts",
    "step_start",
]

READ: Final = "tierlake/read/"
"""Metadata: the state of the dataset whose name follows."""

BEGAN: Final = "tierlake/read_after"
"""Metadata that outlives its event: a time before which nothing was read, in seconds since 1970 by Dagster's clock; 0
where it is unknown."""

STEP: Final = "tierlake/read_by"
"""Likewise: run and step, whose events may still give a more exact time."""

_PAGES_BACK: Final = 20
"""How many pages of observations are searched for a wipe's, for a page of partitions at a time."""


@dataclass(frozen=True, slots=True)
class Read:
    """What a partition was made of, as far as it is known.

    Attributes:
        states: The state of each dataset before it was read, by name.
        began: A time before which nothing was read, by Dagster's clock, 0 where it is unknown; None means the start of
            the run.
        run_id: The run that read; empty for an event that was reported without one.
        step: Its step.
        is_gone: The partition has no materialization any more: it was wiped.
    """

    states: Mapping[str, str] = field(default_factory=dict)
    began: float | None = None
    run_id: str = ""
    step: str = ""
    is_gone: bool = False

    def facts(self, run_starts: Mapping[str, float]) -> dict[str, Any]:
        """The same as metadata, for another event.

        Args:
            run_starts: When runs began, by id.
        """
        began = run_starts.get(self.run_id, 0.0) if self.began is None else self.began
        facts: dict[str, Any] = {f"{READ}{name}": state for name, state in self.states.items()} | {BEGAN: began}
        return facts | ({STEP: f"{self.run_id} {self.step}"} if self.run_id else {})


def record_read(step: Any, name: str, dataset: Dataset) -> None:
    """Record on a step's materializations that it reads a dataset now; call it before the rows are read.

    Args:
        step: The step's context (`failures.step_of`).
        name: The dataset's name below the warehouse.
        dataset: The open dataset.
    """
    if keys := assets_of(step):
        add_metadata_once(step, {f"{READ}{name}": dataset.state()}, keys)


def report_read(
    context: dg.AssetExecutionContext | dg.OpExecutionContext, dataset: Dataset, name: str | None = None
) -> Dataset:
    """Record on the asset's materializations that it reads a dataset from now on: `retention.after` goes by that.

    Args:
        context: The asset's. Where nothing is materialized, nothing is recorded.
        dataset: The dataset that it is about to read.
        name: The dataset's name below the warehouse, as `raw/flights`; by default the one among the asset's `deps`
            with which the dataset's URI ends.

    Returns:
        The dataset, so that the call stands before the reading: `report_read(context, flights).read()`.

    Raises:
        ValueError: None of the asset's `deps` is the dataset.
    """
    step = step_of(context)
    if step is None or not assets_of(step):
        return dataset
    if name is None:
        names = sorted(("/".join(key.path) for key in upstream_of(step)), key=len)
        ours = [one for one in names if dataset.uri.endswith(f"/{one}")]
        if not ours:
            raise ValueError(
                f"{dataset.uri} is none of what the asset depends on ({', '.join(names) or 'nothing'}): name it in "
                'its `deps`, or say which it is: report_read(context, dataset, "raw/flights")'
            )
        name = ours[-1]
    record_read(step, name, dataset)
    return dataset


def latest_reads(
    instance: dg.DagsterInstance, asset_key: dg.AssetKey, keys: Collection[str | None]
) -> dict[str | None, Read]:
    """What the latest materializations of partitions were made of, including those that were wiped since.

    Args:
        instance: Knows the events.
        asset_key: The asset.
        keys: Its partitions; None is all of an asset without partitions.

    Returns:
        By partition; one that was never materialized, or of which nothing is known, is left out.
    """
    partitions = {key for key in keys if key is not None}
    reads: dict[str | None, Read] = {}
    if len(partitions) < len(set(keys)):
        for record in instance.fetch_materializations(asset_key, limit=1).records:
            reads[None] = _read_of(record)
    if not partitions:
        return reads
    ids = latest_storage_ids(instance, asset_key, partitions)
    reads |= {record.partition_key: _read_of(record) for record in event_records(instance, asset_key, ids.values())}
    return reads | _wiped_reads(instance, asset_key, partitions - reads.keys())


def read_facts(
    instance: dg.DagsterInstance, asset_key: dg.AssetKey, keys: Collection[str]
) -> dict[str, dict[str, Any]]:
    """What partitions were made of, as metadata that outlives their materializations.

    A wipe puts them on its observation, and `reports.reports` on the materialization of a partition that came back.

    Args:
        instance: Knows the events.
        asset_key: The asset.
        keys: Its partitions.

    Returns:
        By partition; one that was never materialized is left out.
    """
    reads = latest_reads(instance, asset_key, keys)
    starts = run_starts(instance, {read.run_id for read in reads.values() if read.began is None})
    return {str(key): read.facts(starts) for key, read in reads.items()}


def run_starts(instance: dg.DagsterInstance, run_ids: Collection[str]) -> dict[str, float]:
    """When runs began, by Dagster's clock; a deleted one is left out."""
    return {
        record.dagster_run.run_id: record.start_time
        for page in pages(sorted(run_ids))
        for record in instance.get_run_records(dg.RunsFilter(run_ids=list(page)))
        if record.start_time is not None
    }


def step_start(instance: dg.DagsterInstance, run_id: str, step: str) -> float | None:
    """When a step began, by Dagster's clock; of a graph's step, when the graph's first one did. None: unknown."""
    node = step.partition(".")[0]
    cursor, began = None, []
    while True:
        page = instance.get_records_for_run(run_id, cursor, dg.DagsterEventType.STEP_START)
        steps = [(record.event_log_entry.step_key or "", record.timestamp) for record in page.records]
        began += [at for key, at in steps if key.partition(".")[0] == node]
        if not page.has_more:
            return min(began, default=None)
        cursor = page.cursor


def _read_of(record: dg.EventLogRecord, *, is_gone: bool = False) -> Read:
    event = record.asset_event
    facts = {name: one.value for name, one in event.metadata.items()} if event is not None else {}
    states = {name.removeprefix(READ): str(value) for name, value in facts.items() if name.startswith(READ)}
    if BEGAN in facts:
        run_id, _, step = str(facts.get(STEP, "")).partition(" ")
        return Read(states, float(str(facts[BEGAN])), run_id, step, is_gone)
    if record.run_id:
        return Read(states, None, record.run_id, record.event_log_entry.step_key or "", is_gone)
    return Read(states, record.timestamp, is_gone=is_gone)


def _wiped_reads(instance: dg.DagsterInstance, asset_key: dg.AssetKey, keys: Collection[str]) -> dict[str | None, Read]:
    """What wiped partitions were made of, by the observation of the wipe; other observations may be newer."""
    ids = latest_storage_ids(instance, asset_key, keys, OBSERVATION)
    newest = event_records(instance, asset_key, ids.values(), OBSERVATION)
    reads: dict[str | None, Read] = {
        record.partition_key: _read_of(record, is_gone=True) for record in newest if _has_facts(record)
    }
    for some in pages([key for key in ids if key not in reads]):
        left, cursor = set(some), None
        for _ in range(_PAGES_BACK):
            only: Any = dg.AssetRecordsFilter(asset_key, asset_partitions=sorted(left))
            page = instance.fetch_observations(only, limit=PAGE, cursor=cursor)
            for record in page.records:  # the newest first
                if record.partition_key in left and _has_facts(record):
                    reads[record.partition_key] = _read_of(record, is_gone=True)
                    left.discard(record.partition_key)
            if not left or not page.has_more:
                break
            cursor = page.cursor
    return reads


def _has_facts(record: dg.EventLogRecord) -> bool:
    return record.asset_event is not None and BEGAN in record.asset_event.metadata
