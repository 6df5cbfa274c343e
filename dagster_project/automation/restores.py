"""Archived partitions that are waited for: each tick looks which can be read by now, and requests the runs again.

The waits are in the asset's observations (`waits`): of runs that failed because a partition that they read is archived,
and of restore jobs. The sensor restores nothing itself, as that costs: a person does, by the restore job at the
launchpad, by `tierlake restore` or by `Dataset.restore`. The cursor holds the open observations, and no more of them
than `OPEN`.

A run that waited is requested again: those of its assets that it did not materialize, with its partitions, its tags and
its configuration. It is not requested where somebody executed it again meanwhile. A requested run that was terminated
or lost is requested again, `attempts.ATTEMPTS` times at most; one that failed had its turn.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import dagster as dg

from tierlake.connector.documents import UnreadableDocument, json_object
from tierlake.dagster_project.automation.attempts import ATTEMPTS, is_at_work
from tierlake.dagster_project.automation.wording import are, default_status
from tierlake.dagster_project.partitions.event_storage import newest_storage_id
from tierlake.dagster_project.partitions.lake_asset import DATASET_TAG, LakeAsset
from tierlake.dagster_project.partitions.waits import Wait, waits
from tierlake.dagster_project.resources.failures import tick_errors
from tierlake.dagster_project.resources.lake import LakeResource
from tierlake.pipelines.errors import TableNotFound

if TYPE_CHECKING:
    from tierlake.pipelines import Dataset

__all__ = ["WAITED_TAG", "restore_sensor"]

WAITED_TAG: Final = "tierlake/waited_as"
"""Tag of a requested run: the run that had to wait."""

OPEN: Final = 1000
"""Observations that the cursor holds; the rest is read when some are done."""

LOOKS_PER_TICK: Final = 5000
"""Partitions that a tick looks at; a tick has a minute."""

_MARGIN: Final = 1000
"""Events that a tick looks at again: those that were being stored while it looked have smaller numbers."""

_VERSION: Final = 1
_LAST_STORAGE_ID: Final = 2**63 - 1
_SHOWN: Final = 5
_STATES: Final = {
    "in progress": "being restored",
    "archived": "archived, and nobody has asked for it: start the restore job",
}
_PARENT: Final = "dagster/parent_run_id"
_OF_DAGSTER: Final = ("dagster/", ".dagster/")
_KEPT_TAGS: Final = ("dagster/partition", "dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
_KEPT_CONFIG: Final = ("ops", "resources")


@dataclass(frozen=True, slots=True)
class _Cursor:
    """The newest observation that was read, and the open ones."""

    newest: int | None = None
    open: tuple[int, ...] = ()

    @classmethod
    def read(cls, text: str | None) -> Self:
        """Parse a cursor; another version's, and any text that a person typed into the UI, counts as none."""
        try:
            content = json_object(text or "{}")
        except UnreadableDocument:
            return cls()
        newest, ids = content.get("newest"), content.get("open")
        is_ours = content.get("version") == _VERSION and (newest is None or _is_storage_id(newest))
        if not is_ours or not isinstance(ids, list) or not all(map(_is_storage_id, ids)):
            return cls()
        return cls(newest, tuple(ids))

    def __str__(self) -> str:
        return json.dumps({"version": _VERSION, "newest": self.newest, "open": self.open})


def _is_storage_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LAST_STORAGE_ID


def _readable(asset: LakeAsset, dataset: "Dataset", waiting: Sequence[Wait]) -> tuple[list[Wait], dict[str, str]]:
    """Which waits are over, and why partitions of the others cannot be read yet.

    A partition that has left the table is not waited for: nothing would come of it.
    """

    def states(keys: Iterable[str]) -> dict[str, str]:
        waiting_for = dataset.waiting_for([asset.keys.to_lake(key) for key in keys])
        return {str(asset.keys.to_dagster(key)): state for key, state in waiting_for.items()}

    missing = states({wait.keys[0] for wait in waiting})  # most of what is not there yet shows by its first partition
    hopeful = [wait for wait in waiting if wait.keys[0] not in missing]
    turn: list[Wait] = []
    for wait in hopeful:
        if turn and sum(len(other.keys) for other in turn) + len(wait.keys) > LOOKS_PER_TICK:
            break
        turn.append(wait)
    if any(len(wait.keys) > 1 for wait in turn):
        missing |= states({key for wait in turn for key in wait.keys})
    return [wait for wait in turn if not missing.keys() & set(wait.keys)], missing


def restore_sensor(
    asset: LakeAsset, *, status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.STOPPED
) -> dg.SensorDefinition:
    """The sensor that requests runs again that had to wait for archived partitions.

    Args:
        asset: The dataset's.
        status: Whether it is on before anybody has switched it on or off.
    """

    @dg.sensor(
        name=asset.definition_name("restores"),
        asset_selection=dg.AssetSelection.all(),
        minimum_interval_seconds=300,
        description=f"Starts again the runs that had to wait for archived partitions of {asset.name}. "
        f"{default_status(status)}",
        default_status=status,
    )
    @tick_errors
    def tick(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SensorResult:
        return _result(context, asset, lake)

    return tick


def _result(context: dg.SensorEvaluationContext, asset: LakeAsset, lake: LakeResource) -> dg.SensorResult:
    cursor, before = _Cursor.read(context.cursor), newest_storage_id(context.instance) or 0
    waiting = _open_waits(context.instance, asset.asset_key, cursor)
    if not waiting:
        quiet = f"nobody waits for archived partitions of {asset.name}"
        after = _Cursor(max(cursor.newest or 0, before - _MARGIN))
        return dg.SensorResult(skip_reason=quiet, cursor=str(after))
    try:
        over, missing = _readable(asset, asset.dataset_in(lake), waiting)
    except TableNotFound:
        return dg.SensorResult(skip_reason=f"{lake.uri(asset.name)} does not exist yet")
    turns = {wait: _turn(context, asset, wait) for wait in over}
    requests = [turn for turn in turns.values() if isinstance(turn, dg.RunRequest)]
    at_work = [wait for wait, turn in turns.items() if turn is not None]  # until the requested run has ended
    archived = [wait for wait in waiting if wait not in over]
    newest = max(cursor.newest or 0, *(wait.storage_id for wait in waiting))
    after = _Cursor(newest, tuple(wait.storage_id for wait in waiting if wait in archived or wait in at_work))
    why = _why_not(missing, archived) if archived else "what was waited for can be read"
    if at_work:
        why += f"; {len(at_work)} run{'s are' if len(at_work) > 1 else ' is'} at it again"
    return dg.SensorResult(
        run_requests=requests,
        skip_reason=None if requests else why,
        asset_events=_reports(asset, [wait for wait in over if not _is_requested(context.instance, wait)]),
        cursor=str(after),
    )


def _open_waits(instance: dg.DagsterInstance, asset_key: dg.AssetKey, cursor: _Cursor) -> list[Wait]:
    open_waits = list(waits(instance, asset_key, storage_ids=cursor.open)) if cursor.open else []
    for wait in waits(instance, asset_key, after=cursor.newest):
        if len(open_waits) == OPEN:
            break
        open_waits.append(wait)
    return open_waits


def _turn(context: dg.SensorEvaluationContext, asset: LakeAsset, wait: Wait) -> dg.RunRequest | str | None:
    """The request for what a run had to leave, or the id of a requested run under way; None if nothing is left."""
    instance = context.instance
    run = instance.get_run_by_id(wait.run_id) if wait.run_id else None
    if run is None or instance.get_runs(filters=dg.RunsFilter(tags={_PARENT: run.run_id}), limit=1):
        return None
    earlier = _requested_runs(instance, wait)
    if earlier and is_at_work(instance, earlier[0].run_id):
        return earlier[0].run_id
    if earlier and earlier[0].status in {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE}:
        return None
    if len(earlier) >= ATTEMPTS:
        context.log.warning(
            "run %s is not requested any more: %d attempts were terminated or lost", run.run_id, ATTEMPTS
        )
        return None
    return _again(context, asset, run, len(earlier))


def _requested_runs(instance: dg.DagsterInstance, wait: Wait) -> Sequence[dg.DagsterRun]:
    """The runs that were requested for one that waited, newest first."""
    return instance.get_runs(filters=dg.RunsFilter(tags={WAITED_TAG: wait.run_id or ""}), limit=ATTEMPTS)


def _is_requested(instance: dg.DagsterInstance, wait: Wait) -> bool:
    return wait.run_id is not None and bool(_requested_runs(instance, wait))


def _again(
    context: dg.SensorEvaluationContext, asset: LakeAsset, run: dg.DagsterRun, number: int
) -> dg.RunRequest | None:
    """The request for what a run had to leave; None where this code location can materialize none of it."""
    keys = _left_by(context, run)
    if not keys:
        context.log.warning("run %s waited, but has no assets that this code location can materialize", run.run_id)
        return None
    tags = {name: value for name, value in run.tags.items() if _kept(name)}
    return dg.RunRequest(
        run_key=f"{run.run_id}:restored:{number}" if number else f"{run.run_id}:restored",
        asset_selection=keys,
        tags={**tags, DATASET_TAG: asset.name, WAITED_TAG: run.run_id},
        run_config={name: run.run_config[name] for name in _KEPT_CONFIG if name in run.run_config},
    )


def _left_by(context: dg.SensorEvaluationContext, run: dg.DagsterRun) -> list[dg.AssetKey]:
    """The assets that a run was to materialize and did not."""
    planned, done = (
        {entry.get_dagster_event().asset_key for entry in context.instance.all_logs(run.run_id, of_type=kind)}
        for kind in (dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED, dg.DagsterEventType.ASSET_MATERIALIZATION)
    )
    repository = context.repository_def
    graph = repository.asset_graph if repository else None
    ours = {key for key in planned - done if key is not None and graph and graph.has(key)}
    return sorted(key for key in ours if graph and graph.get(key).is_materializable)


def _kept(tag: str) -> bool:
    return tag.startswith(_KEPT_TAGS) or not tag.startswith(_OF_DAGSTER)


def _reports(asset: LakeAsset, over: Sequence[Wait]) -> list[dg.AssetObservation]:
    keys = sorted({key for wait in over for key in wait.keys})
    if not keys:
        return []
    facts = {"restored_partitions": dg.MetadataValue.json(keys)}
    return [dg.AssetObservation(asset.asset_key, description="restored: can be read for now", metadata=facts)]


def _why_not(missing: Mapping[str, str], left: Sequence[Wait]) -> str:
    runs = sum(wait.run_id is not None for wait in left)
    clauses = [f"{runs} runs wait" if runs != 1 else "1 run waits"]
    for state, words in _STATES.items():
        keys = sorted(key for key, own in missing.items() if own == state)
        if keys:
            shown = ", ".join(keys[:_SHOWN]) + (", ..." if len(keys) > _SHOWN else "")
            clauses.append(f"{shown} {are(keys)} {words}")
    return "; ".join(clauses)
