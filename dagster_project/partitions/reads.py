"""What a materialization was made of: the state of each dataset that its step read, on the event itself.

    tierlake/read/<dataset>     `Dataset.state()` before the rows were read; the oldest, where they were read again

The IO manager records what it loads. An asset that reads by hand says so:

    @dg.asset(deps=["flights"])
    def report(context: dg.AssetExecutionContext, lake: LakeResource) -> None:
        flights = report_read(context, lake.dataset("flights"))
        rows = flights.read(...)

Of an event that has no such record Dagster tells when its step began, and of one that was reported without a run when
that was: what the dataset had before may have been read, what came later was not.

A wipe takes the event away, and its observation carries these facts on (`carried`): what an expired partition has seen
stays known.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from tierlake.dagster_project.resources.failures import step_of
from tierlake.dagster_project.resources.steps import assets_of, note_once, upstream_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from tierlake.pipelines import Dataset

__all__ = [
    "BEGAN",
    "READ",
    "Read",
    "carried",
    "latest_reads",
    "note_read",
    "report_read",
    "run_starts",
    "step_start",
]

READ: Final = "tierlake/read/"
"""Metadata: the state of the dataset whose name follows."""

BEGAN: Final = "tierlake/read_after"
"""Metadata of what outlives its event: when the reading had not begun yet, in seconds since 1970 by Dagster's clock; 0
where nobody knows."""

STEP: Final = "tierlake/read_by"
"""Likewise: run and step, of which Dagster may still tell more exactly."""

_PAGE: Final = 500
_PAGES_BACK: Final = 20
"""How far observations are looked through for a wipe's: pages of 500, for up to 500 partitions at a time."""


@dataclass(frozen=True, slots=True)
class Read:
    """What is known of what a partition was made of.

    Attributes:
        states: of datasets, by name, before they were read.
        began: when the reading had not begun yet, by Dagster's clock, 0 where nobody knows; None: when its run began.
        run_id: the run that read; empty for what was reported without one.
        step: its step.
        is_gone: the partition has no materialization any more: it was wiped.
    """

    states: Mapping[str, str] = field(default_factory=dict)
    began: float | None = None
    run_id: str = ""
    step: str = ""
    is_gone: bool = False

    def facts(self, run_starts: Mapping[str, float]) -> dict[str, Any]:
        """The metadata that say the same without the event.

        Args:
            run_starts: when runs began, by id.
        """
        began = run_starts.get(self.run_id, 0.0) if self.began is None else self.began
        facts: dict[str, Any] = {f"{READ}{name}": state for name, state in self.states.items()} | {BEGAN: began}
        return facts | ({STEP: f"{self.run_id} {self.step}"} if self.run_id else {})


def note_read(step: Any, name: str, dataset: Dataset) -> None:
    """Record on what a step makes that it reads a dataset now; call it before the rows are read.

    Args:
        step: the step's context (`failures.step_of`).
        name: the dataset's, below the warehouse.
        dataset: it.
    """
    if keys := assets_of(step):
        note_once(step, {f"{READ}{name}": dataset.state()}, keys)


def report_read(
    context: dg.AssetExecutionContext | dg.OpExecutionContext, dataset: Dataset, name: str | None = None
) -> Dataset:
    """Record on the asset's materializations that it reads a dataset from now on, for the datasets that wait for that.

    Args:
        context: the asset's. Where nothing is materialized, nothing is recorded.
        dataset: what it is about to read.
        name: the dataset's name below the warehouse, as `raw/flights`; by default the one among the asset's `deps`
            with which the dataset's URI ends.

    Returns:
        The dataset, so that the call stands before the reading: `report_read(context, flights).read()`.

    Raises:
        ValueError: none of the asset's `deps` is the dataset.
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
    note_read(step, name, dataset)
    return dataset


def latest_reads(
    instance: dg.DagsterInstance, asset_key: dg.AssetKey, keys: Collection[str | None]
) -> dict[str | None, Read]:
    """What the latest materializations of partitions were made of, those that were wiped since among them.

    Args:
        instance: knows the events.
        asset_key: the asset.
        keys: its partitions; None is all of an asset without partitions.

    Returns:
        By partition; one that was never materialized, or of which nothing is known, is left out.
    """
    partitions = {key for key in keys if key is not None}
    found: dict[str | None, Read] = {}
    if len(partitions) < len(set(keys)):
        for record in instance.fetch_materializations(asset_key, limit=1).records:
            found[None] = _read_of(record)
    if not partitions:
        return found
    ids = _latest_ids(instance, asset_key, dg.DagsterEventType.ASSET_MATERIALIZATION, partitions)
    for record in _fetched(instance.fetch_materializations, asset_key, ids.values()):
        found[record.partition_key] = _read_of(record)
    return found | _gone(instance, asset_key, partitions - found.keys())


def carried(instance: dg.DagsterInstance, asset_key: dg.AssetKey, keys: Collection[str]) -> dict[str, dict[str, Any]]:
    """What should outlive the materializations of partitions: the facts of what these were made of, as metadata.

    A wipe puts them on its observation, and `reconcile.reports` on the materialization that tells of what came back.

    Args:
        instance: knows the events.
        asset_key: the asset.
        keys: its partitions.

    Returns:
        By partition; one that was never materialized is left out.
    """
    reads = latest_reads(instance, asset_key, keys)
    starts = run_starts(instance, {read.run_id for read in reads.values() if read.began is None})
    return {str(key): read.facts(starts) for key, read in reads.items()}


def run_starts(instance: dg.DagsterInstance, run_ids: Collection[str]) -> dict[str, float]:
    """When runs began, by Dagster's clock; one that is gone is left out."""
    return {
        record.dagster_run.run_id: record.start_time
        for some in _pages(sorted(run_ids))
        for record in instance.get_run_records(dg.RunsFilter(run_ids=list(some)))
        if record.start_time is not None
    }


def step_start(instance: dg.DagsterInstance, run_id: str, step: str) -> float | None:
    """When a step began, by Dagster's clock; of a graph's, when the graph's first one did. None: nobody knows."""
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


def _gone(instance: dg.DagsterInstance, asset_key: dg.AssetKey, keys: Collection[str]) -> dict[str | None, Read]:
    """What wiped partitions were made of, by the observation of the wipe; other observations may be newer."""
    if not keys:
        return {}
    ids = _latest_ids(instance, asset_key, dg.DagsterEventType.ASSET_OBSERVATION, keys)
    newest = list(_fetched(instance.fetch_observations, asset_key, ids.values()))
    found: dict[str | None, Read] = {one.partition_key: _read_of(one, is_gone=True) for one in newest if _carries(one)}
    for some in _pages([key for key in ids if key not in found]):
        left, cursor = set(some), None
        for _ in range(_PAGES_BACK):
            only: Any = dg.AssetRecordsFilter(asset_key, asset_partitions=sorted(left))
            page = instance.fetch_observations(only, limit=_PAGE, cursor=cursor)
            for record in page.records:  # the newest first
                if record.partition_key in left and _carries(record):
                    found[record.partition_key] = _read_of(record, is_gone=True)
                    left.discard(record.partition_key)
            if not left or not page.has_more:
                break
            cursor = page.cursor
    return found


def _latest_ids(
    instance: dg.DagsterInstance, asset_key: dg.AssetKey, kind: dg.DagsterEventType, keys: Collection[str]
) -> dict[str, int]:
    """The storage id of each partition's latest event of a kind; where many are meant, all are asked for."""
    only = set(keys) if len(keys) <= _PAGE else None
    latest = instance.get_latest_storage_id_by_partition(asset_key, kind, only)
    return {key: latest[key] for key in keys if key in latest}


def _carries(record: dg.EventLogRecord) -> bool:
    return record.asset_event is not None and BEGAN in record.asset_event.metadata


def _fetched(fetch: Any, asset_key: dg.AssetKey, storage_ids: Collection[int]) -> Iterator[dg.EventLogRecord]:
    for some in _pages(sorted(storage_ids)):
        yield from fetch(dg.AssetRecordsFilter(asset_key, storage_ids=list(some)), limit=_PAGE).records


def _pages(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), _PAGE):
        yield items[start : start + _PAGE]
