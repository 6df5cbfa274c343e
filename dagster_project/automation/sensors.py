"""Sensors that keep Dagster true and datasets within their retention.

Each tick makes right what Dagster shows of the dataset's partitions (`reconcile`), whoever changed the table, and
whoever died on the way. Then it looks for partitions past their retention and asks for runs that expire them.

A tick asks in batches, and not again for those that a run is busy with. What Dagster does not know as a partition, or
not any more, is asked for by the dataset's own key. The run key is made of the partitions, of the storage ids of their
latest materializations and of the last attempt: the same request is never run twice, and a partition that was ingested
again is a new request. What a run left undone, however it ended, is asked for again (`attempts`).

Where the description in the code differs from the stored one, the tick asks for a run that makes them one, and for
no expiry: what is due by another description is nobody's wish any more.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self

import dagster as dg

from tierlake.dagster_project.automation import reconcile
from tierlake.dagster_project.automation.attempts import (
    ATTEMPTS,
    Attempt,
    Attempts,
    Turn,
    read_attempts,
    reason_of,
    take_turns,
)
from tierlake.dagster_project.automation.retention import Due, Retention
from tierlake.dagster_project.automation.table_metadata import observations, touched_after
from tierlake.dagster_project.partitions.lake_asset import DATASET_TAG, LakeAsset
from tierlake.dagster_project.partitions.lineage import downstreams_in
from tierlake.dagster_project.partitions.materializations import materialized
from tierlake.dagster_project.partitions.wipe import latest_storage_ids, reconcile_status
from tierlake.dagster_project.resources.failures import told_tick
from tierlake.dagster_project.resources.lake import LakeResource
from tierlake.pipelines.errors import TableNotFound

if TYPE_CHECKING:
    from tierlake.pipelines import Dataset
    from tierlake.pipelines.lifecycle.redescribe import RefusedField, SpecDiff

__all__ = ["ExpiryJob", "reconciliation_sensor", "retention_sensor", "run_key"]

Clock = Callable[[], datetime]

KEYS_PER_RUN: Final = 500
DESCRIPTION_TAG: Final = "tierlake/description"
"""Tag of runs that a tick asks for since the description changed: a digest of the change."""

AGAIN_TAG: Final = "tierlake/again"
"""Tag of runs that are asked for again: what became of the last attempt."""

REASONS_SHOWN: Final = 5
_NOW: Final[Clock] = partial(datetime.now, UTC)
_VERSION: Final = 1


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


@dataclass(frozen=True, slots=True)
class Cursor:
    """What a sensor remembers; without it everything is compared anew.

    Attributes:
        state: the table's, up to which Dagster has been told of changes; empty where it is not known.
        act: the newest act in the dataset's journal that has been looked at.
    """

    state: str = ""
    act: str = ""

    @classmethod
    def read(cls, text: str | None) -> Self:
        """What an earlier tick wrote; another version's, and what a person typed into the UI, is none."""
        try:
            content = json.loads(text or "{}")
            version, state, act = (content[name] for name in ("version", "state", "act"))
        except (ValueError, TypeError, KeyError):
            return cls()
        return cls(str(state), str(act)) if version == _VERSION else cls()

    def __str__(self) -> str:
        return json.dumps({"version": _VERSION, "state": self.state, "act": self.act})


def retention_sensor(asset: LakeAsset, job: ExpiryJob, *, clock: Clock = _NOW) -> dg.SensorDefinition:
    """The sensor that expires partitions of one dataset; it is off until somebody turns it on.

    Args:
        asset: the dataset's.
        job: what to ask for. Its runs are found again by the tag `tierlake/dataset`.
        clock: Dagster's, by which runs are too old to be alive, or old enough to be asked for again.
    """

    @dg.sensor(
        name=f"{asset.identifier}_retention",
        job_name=job.name,  # by name: Dagster warns of its own beta parameter where it swaps the job
        minimum_interval_seconds=300,
        description=f"Finds partitions of {asset.name} past their retention and asks for a run that expires them.",
    )
    @told_tick
    def tick(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SensorResult:
        return _Tick(context, asset, lake, job, clock()).result()

    return tick


def reconciliation_sensor(asset: LakeAsset, *, clock: Clock = _NOW) -> dg.SensorDefinition:
    """The sensor that keeps Dagster true of a dataset that never expires; it is off until somebody turns it on.

    Args:
        asset: the dataset's.
        clock: Dagster's.
    """

    @dg.sensor(
        name=f"{asset.identifier}_reconciliation",
        asset_selection=dg.AssetSelection.assets(asset.asset_key),
        minimum_interval_seconds=300,
        description=f"Shows the partitions of {asset.name} as the table has them, whoever changes it.",
    )
    @told_tick
    def tick(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SensorResult:
        return _Tick(context, asset, lake, None, clock()).result()

    return tick


@dataclass(frozen=True, slots=True)
class _Tick:
    """One evaluation."""

    context: dg.SensorEvaluationContext
    asset: LakeAsset
    lake: LakeResource
    job: ExpiryJob | None
    now: datetime

    def result(self) -> dg.SensorResult:
        instance, asset = self.context.instance, self.asset
        try:
            dataset = asset.dataset_in(self.lake)
        except TableNotFound:
            return dg.SensorResult(skip_reason=self._no_table())
        cleared = reconcile_status(instance, asset.asset_key, asset.partitions_def)
        if cleared:
            self.context.log.warning("the cached status of %d partitions was stale and has been cleared", len(cleared))
        today, before = self.lake.today(), Cursor.read(self.context.cursor)
        retention = Retention(instance, asset, dataset, downstreams_in(self.context.repository_def, asset))
        at_once = reconcile.MENDED_AT_ONCE
        shown = reconcile.look(instance, asset)  # before the table: what comes in between is not taken for gone
        with dataset.one_look():
            state = dataset.state()
            due = retention.due(today, since=before.state, shown=shown)
            mended = reconcile.mend(instance, asset, dataset, due.shown, due.difference, at_once=at_once)
        sentences = [str(mended)] if str(mended) else []
        events: list[dg.AssetMaterialization | dg.AssetObservation] = list(mended.events)
        touched = touched_after(instance, dataset, before.act, at_once)
        if touched.is_any or (mended.wiped and not mended.untold):
            events += observations(instance, asset, dataset, touched.keys)
        if touched.keys:
            sentences.append(f"{len(touched.keys)} partitions have metadata of what they are now")
        if mended.wiped or mended.reported:
            dataset.settle()  # somebody died, or worked elsewhere
        requests: list[dg.RunRequest] = []
        if self.job is not None:
            described = self._described_anew(self.job, dataset, today)
            asked, sentence = described or self._expired(self.job, due, today)
            requests += asked
            sentences += [sentence] if sentence else []
        elif not sentences:
            sentences.append(f"all {len(due.shown.latest)} partitions are shown as the table has them")
        for sentence in sentences if requests else ():
            self.context.log.info("%s", sentence)
        after = Cursor(state if mended.is_all_told else before.state, touched.act)
        return dg.SensorResult(
            run_requests=requests,
            skip_reason=None if requests else "; ".join(sentences),
            asset_events=events,
            cursor=str(after),
        )

    def _no_table(self) -> str:
        there = f"{self.lake.uri(self.asset.name)} does not exist"
        shown = latest_storage_ids(self.context.instance, self.asset.asset_key)
        if not shown:
            return f"{there} yet"
        return (
            f"{there}, and Dagster shows {len(shown)} of its partitions: they stay, as the warehouse may be the wrong "
            "one; where the table was deleted, wipe the asset's materializations"
        )

    def _expired(self, job: ExpiryJob, due: Due, today: date | None) -> tuple[list[dg.RunRequest], str]:
        """Requests for what is due, or why there is none."""
        if due.unknown:
            shown = ", ".join(due.unknown[:REASONS_SHOWN])
            self.context.log.info("%d due are no partitions of the asset: %s", len(due.unknown), shown)
        instance, as_of = self.context.instance, today.isoformat() if today else None
        tags = {DATASET_TAG: self.asset.name}
        attempts = read_attempts(instance, job.name, tags, partial(_requested_keys, job), self.now)
        since = self._since(due, attempts)
        requests: list[dg.RunRequest] = []
        turns: list[Turn] = []
        for name, keys in (("partitions", due.keys), ("unknown", due.unknown)):
            turn = take_turns([str(key) for key in keys], attempts, since, self.now, KEYS_PER_RUN)
            turns.append(turn)
            requests += [self._request(job, name, batch, due, turn, as_of) for batch in turn.batches]
        for turn in turns:
            for attempt, number in Counter(turn.again.values()).most_common(REASONS_SHOWN):
                self.context.log.info("%d partitions are asked for again: %s", number, attempt)
        sentences = _why_not_now(instance, due, attempts, turns)
        return requests, "; ".join(sentences if requests else [*sentences, *_why_not(due)])

    def _request(
        self, job: ExpiryJob, name: str, batch: Sequence[str], due: Due, turn: Turn, as_of: str | None
    ) -> dg.RunRequest:
        earlier = sorted({str(turn.again[key]) for key in batch if key in turn.again})
        return dg.RunRequest(
            run_key=run_key(self.asset, batch, due.stamps, earlier),
            run_config={"ops": {job.op: {"config": {**job.said, "as_of": as_of, name: list(batch)}}}},
            tags={DATASET_TAG: self.asset.name, **({AGAIN_TAG: earlier[-1]} if earlier else {})},
        )

    def _since(self, due: Due, attempts: Attempts) -> dict[str, datetime]:
        """When partitions became what they are, of those that somebody has tried to expire."""
        tried = {key for attempt in attempts.over for key in attempt.keys}
        ids = {key: due.stamps[key] for key in due.keys if key in tried and key in due.stamps}
        latest = materialized(self.context.instance, self.asset.asset_key, ids.values())
        of_files = {key: datetime.fromtimestamp(due.stamps[key] / 1000, UTC) for key in due.unknown if key in tried}
        return {key: one.at for key, one in latest.items()} | of_files

    def _described_anew(
        self, job: ExpiryJob, dataset: "Dataset", today: date | None
    ) -> tuple[list[dg.RunRequest], str] | None:
        """A run that makes the description in the code the stored one, then expires by it; None where they are one."""
        if not dataset.is_described:
            return None
        diff = dataset.diff(self.asset.described_at(dataset), today, with_effect=False)
        if not (diff.differs and diff.is_in_use):
            return None
        if diff.refused:
            faults = "; ".join(map(_refusal, diff.refused))
            return [], f"the code describes {diff.uri} as it cannot be: {faults}"
        return self._description_requested(job, diff, today)

    def _description_requested(
        self, job: ExpiryJob, diff: "SpecDiff", today: date | None
    ) -> tuple[list[dg.RunRequest], str]:
        changes = "; ".join(map(str, diff.changes))
        digest = hashlib.sha256(changes.encode()).hexdigest()[:16]
        tags = {DATASET_TAG: self.asset.name, DESCRIPTION_TAG: digest}
        attempts = read_attempts(self.context.instance, job.name, tags, lambda _: [digest], self.now)
        turn = take_turns([digest], attempts, {}, self.now)
        if digest in attempts.busy:
            return [], f"run {attempts.busy[digest]} is changing the description: {changes}"
        if digest in turn.waiting:
            return [], f"{_changing(turn, digest)}: {changes}"
        config: dict[str, Any] = {**job.said, "as_of": today.isoformat() if today else None, "partitions": []}
        request = dg.RunRequest(
            run_key=f"{self.asset.name}:description:{digest}:{len(attempts.over)}",
            run_config={"ops": {job.op: {"config": config}}},
            tags=tags,
        )
        return [request], f"the description in the code differs from the stored one: {changes}"


def _changing(turn: Turn, digest: str) -> str:
    attempt, until = turn.waiting[digest]
    often = f"failed {ATTEMPTS} times, look at its runs" if digest in turn.refused else "did not come to its end"
    return f"changing the description {often} ({attempt}; the next try is at {until:%Y-%m-%d %H:%M} UTC)"


def _refusal(field: "RefusedField") -> str:
    return f"{field.field}: {field.reason}"


def run_key(asset: LakeAsset, keys: Sequence[str], stamps: Mapping[str, int], earlier: Sequence[str] = ()) -> str:
    """Names a request by its partitions, the materializations, or changes, that it is about, and what it follows."""
    about = "\n".join([*(f"{key} {stamps.get(key, 0)}" for key in sorted(keys)), *earlier])
    digest = hashlib.sha256(about.encode()).hexdigest()[:16]
    return f"{asset.name}:{min(keys)}..{max(keys)}:{digest}"


def _requested_keys(job: ExpiryJob, run_config: Mapping[str, Any]) -> list[str]:
    """What a run was asked for by name; one that a person started may name none, and finds out itself."""
    config = run_config.get("ops", {}).get(job.op, {}).get("config", {})
    return [*config.get("partitions", ()), *config.get("unknown", ())]


def _why_not(due: Due) -> list[str]:
    """Why nothing is due, or not more, and what comes next."""
    sentences = [] if due.keys or due.unknown else [f"nothing to expire as of {due.as_of:%Y-%m-%d}"]
    for reason, count in Counter(due.refused.values()).most_common(REASONS_SHOWN):
        example = next(key for key, why in due.refused.items() if why == reason)
        sentences.append(f"{count} kept, {reason} ({example}{', ...' if count > 1 else ''})")
    if due.next_key and due.next_at:
        sentences.append(f"next is {due.next_key} on {due.next_at:%Y-%m-%d}")
    return sentences


def _why_not_now(instance: dg.DagsterInstance, due: Due, attempts: Attempts, turns: Sequence[Turn]) -> list[str]:
    """Why some of what is due is not asked for, or was not expired yet."""
    sentences = []
    keys = [str(key) for key in (*due.keys, *due.unknown)]
    busy = [key for key in keys if key in attempts.busy]
    waiting = {key: one for turn in turns for key, one in turn.waiting.items()}
    refused = {key: one for turn in turns for key, one in turn.refused.items()}
    if busy:
        runs = ", ".join(sorted({attempts.busy[key] for key in busy})[:REASONS_SHOWN])
        sentences.append(f"a run is expiring {len(busy)} partitions ({runs})")
    for attempt, of in _by_attempt({key: one for key, (one, _) in waiting.items() if key not in refused}):
        until = min(waiting[key][1] for key in of)
        sentences.append(
            f"{reconcile.some(of)} {reconcile.are(of)} due: {attempt}, and asked for again at {until:%H:%M} UTC"
        )
    for attempt, of in _by_attempt(refused):
        reason = reason_of(instance, attempt.run_id, of)
        named = f"{reconcile.some(of)} {reconcile.are(of)} due"
        sentences.append(
            f"{named}, and {ATTEMPTS} runs or more did not expire {'it' if len(of) == 1 else 'them'}: {attempt}"
            f"{f' ({reason})' if reason else ''}; tried again once a day: look at the run and at `tierlake plan "
            "expiry`, or keep what must stay by `tierlake hold`"
        )
    return sentences


def _by_attempt(of: Mapping[str, Attempt]) -> Iterator[tuple[Attempt, list[str]]]:
    grouped: dict[Attempt, list[str]] = {}
    for key, attempt in of.items():
        grouped.setdefault(attempt, []).append(key)
    return iter(list(grouped.items())[:REASONS_SHOWN])
