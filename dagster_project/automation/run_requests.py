"""The runs of the expiry job that a tick requests, and why it does not request others.

A tick requests in batches, and not again for partitions that a run is busy with. Keys that are no partitions of the
asset, or not any more, are requested by the dataset's own key. The run key is made of the partitions, of the storage
ids of their latest materializations and of the last attempt: the same request is never run twice, and a partition that
was ingested again is a new request. What a run left undone, however it ended, is requested again (`attempts`).

Where the description in the code differs from the stored one, one run is requested that makes them the same, and no
expiry by the old one.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import dagster as dg

from tierlake.dagster_project.automation.attempts import (
    ATTEMPTS,
    Attempt,
    Attempts,
    Turn,
    read_attempts,
    reason_of,
    take_turns,
)
from tierlake.dagster_project.automation.config import op_config, run_config
from tierlake.dagster_project.automation.wording import are, some, them
from tierlake.dagster_project.partitions.lake_asset import DATASET_TAG
from tierlake.dagster_project.partitions.materializations import materialized

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tierlake.dagster_project.automation.retention import Due
    from tierlake.dagster_project.partitions.lake_asset import LakeAsset
    from tierlake.pipelines import Dataset
    from tierlake.pipelines.lifecycle.redescribe import SpecDiff

__all__ = ["AGAIN_TAG", "DESCRIPTION_TAG", "KEYS_PER_RUN", "REASONS_SHOWN", "Requests", "RunRequests", "run_key"]

KEYS_PER_RUN: Final = 500

DESCRIPTION_TAG: Final = "tierlake/description"
"""Tag of runs that a tick requests because the description changed: a digest of the change."""

AGAIN_TAG: Final = "tierlake/again"
"""Tag of runs that are requested again: how the last attempt ended."""

REASONS_SHOWN: Final = 5

_PARTITION_TAG: Final = "dagster/partition"
"""Tag of runs for which a person selected a partition at the launchpad."""


class Requests(NamedTuple):
    """What a tick requests.

    Attributes:
        runs: The requests.
        text: Why there are no others; empty where there is nothing to say.
    """

    runs: tuple[dg.RunRequest, ...]
    text: str


@dataclass(frozen=True, slots=True)
class RunRequests:
    """Makes the requests of one tick.

    Attributes:
        instance: The Dagster instance.
        asset: The dataset's asset.
        today: The fixed day by which the policies judge; None means the clock.
        now: The time by Dagster's clock.
        log: The tick's.
    """

    instance: dg.DagsterInstance
    asset: LakeAsset
    today: date | None
    now: datetime
    log: Any

    @property
    def job(self) -> str:
        """The name of the requested job."""
        return self.asset.definition_name("expiry")

    def of(self, dataset: Dataset, due: Due) -> Requests:
        """A run that applies the description in the code where it differs; else the runs that expire what is due."""
        return self._description(dataset) or self._expiry(due)

    def _expiry(self, due: Due) -> Requests:
        if due.unknown:
            shown = ", ".join(due.unknown[:REASONS_SHOWN])
            self.log.info("%d due are no partitions of the asset: %s", len(due.unknown), shown)
        tags = {DATASET_TAG: self.asset.name}
        attempts = read_attempts(self.instance, self.job, tags, partial(_keys_of, self.job), self.now)
        since = self._since(due, attempts)
        requests: list[dg.RunRequest] = []
        turns: list[Turn] = []
        for field, keys in (("partitions", due.keys), ("unknown", due.unknown)):
            turn = take_turns([str(key) for key in keys], attempts, since, self.now, KEYS_PER_RUN)
            turns.append(turn)
            requests += [self._request(field, batch, due, turn) for batch in turn.batches]
        for turn in turns:
            for attempt, number in Counter(turn.again.values()).most_common(REASONS_SHOWN):
                self.log.info("%d partitions are requested again: %s", number, attempt)
        clauses = _postponed(self.instance, due, attempts, turns)
        return Requests(tuple(requests), "; ".join(clauses if requests else [*clauses, *_not_due(due)]))

    def _request(self, field: str, batch: Sequence[str], due: Due, turn: Turn) -> dg.RunRequest:
        earlier = sorted({str(turn.again[key]) for key in batch if key in turn.again})
        return dg.RunRequest(
            run_key=run_key(self.asset, batch, due.stamps, earlier),
            run_config=run_config(self.job, {"as_of": self._as_of, field: list(batch)}),
            tags={DATASET_TAG: self.asset.name, **({AGAIN_TAG: earlier[-1]} if earlier else {})},
        )

    def _since(self, due: Due, attempts: Attempts) -> dict[str, datetime]:
        """When partitions became what they are; of those with an attempt to expire them."""
        attempted = {key for attempt in attempts.over for key in attempt.keys}
        ids = {key: due.stamps[key] for key in due.keys if key in attempted and key in due.stamps}
        latest = materialized(self.instance, self.asset.asset_key, ids.values())
        of_files = {key: datetime.fromtimestamp(due.stamps[key] / 1000, UTC) for key in due.unknown if key in attempted}
        return {key: one.at for key, one in latest.items()} | of_files

    def _description(self, dataset: Dataset) -> Requests | None:
        """A run that applies the description in the code, then expires by it; None where it is the stored one."""
        if not dataset.is_described:
            return None
        diff = dataset.diff(self.asset.described_at(dataset), self.today, with_effect=False)
        if not (diff.differs and diff.is_in_use):
            return None
        if diff.refused:
            faults = "; ".join(f"{fault.field}: {fault.reason}" for fault in diff.refused)
            return Requests((), f"the code describes {diff.uri} as it cannot be: {faults}")
        return self._description_requested(diff)

    def _description_requested(self, diff: SpecDiff) -> Requests:
        changes = "; ".join(map(str, diff.changes))
        digest = hashlib.sha256(changes.encode()).hexdigest()[:16]
        tags = {DATASET_TAG: self.asset.name, DESCRIPTION_TAG: digest}
        attempts = read_attempts(self.instance, self.job, tags, lambda _: [digest], self.now)
        turn = take_turns([digest], attempts, {}, self.now)
        if digest in attempts.busy:
            return Requests((), f"run {attempts.busy[digest]} is changing the description: {changes}")
        if digest in turn.waiting:
            return Requests((), f"{_unapplied(turn, digest)}: {changes}")
        request = dg.RunRequest(
            run_key=f"{self.asset.name}:description:{digest}:{len(attempts.over)}",
            run_config=run_config(self.job, {"as_of": self._as_of, "partitions": []}),
            tags=tags,
        )
        return Requests((request,), f"the description in the code differs from the stored one: {changes}")

    @property
    def _as_of(self) -> str | None:
        return self.today.isoformat() if self.today else None


def run_key(asset: LakeAsset, keys: Sequence[str], stamps: Mapping[str, int], earlier: Sequence[str] = ()) -> str:
    """Names a request by its partitions, their materializations or changes, and the attempts before it."""
    text = "\n".join([*(f"{key} {stamps.get(key, 0)}" for key in sorted(keys)), *earlier])
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return f"{asset.name}:{min(keys)}..{max(keys)}:{digest}"


def _keys_of(job: str, run: dg.DagsterRun) -> list[str]:
    """The keys that a run names; one that a person started may name none, and expires all that are due."""
    config, selected = op_config(job, run.run_config), run.tags.get(_PARTITION_TAG)
    return [*config.get("partitions", ()), *config.get("unknown", ()), *([selected] if selected else [])]


def _unapplied(turn: Turn, digest: str) -> str:
    attempt, until = turn.waiting[digest]
    end = f"failed {ATTEMPTS} times, look at its runs" if digest in turn.refused else "did not come to its end"
    return f"changing the description {end} ({attempt}; the next try is at {until:%Y-%m-%d %H:%M} UTC)"


def _not_due(due: Due) -> list[str]:
    """Why nothing is due, or not more, and what comes next."""
    clauses = [] if due.keys or due.unknown else [f"nothing to expire as of {due.as_of:%Y-%m-%d}"]
    for reason, count in Counter(due.refused.values()).most_common(REASONS_SHOWN):
        example = next(key for key, why in due.refused.items() if why == reason)
        clauses.append(f"{count} kept, {reason} ({example}{', ...' if count > 1 else ''})")
    if due.next_key and due.next_at:
        clauses.append(f"next is {due.next_key} on {due.next_at:%Y-%m-%d}")
    return clauses


def _postponed(instance: dg.DagsterInstance, due: Due, attempts: Attempts, turns: Sequence[Turn]) -> list[str]:
    """Why some of what is due is not requested now, or was not expired by earlier runs."""
    clauses = []
    keys = [str(key) for key in (*due.keys, *due.unknown)]
    busy = [key for key in keys if key in attempts.busy]
    waiting = {key: one for turn in turns for key, one in turn.waiting.items()}
    refused = {key: one for turn in turns for key, one in turn.refused.items()}
    if busy:
        runs = ", ".join(sorted({attempts.busy[key] for key in busy})[:REASONS_SHOWN])
        clauses.append(f"a run is expiring {len(busy)} partitions ({runs})")
    for attempt, own in _by_attempt({key: one for key, (one, _) in waiting.items() if key not in refused}):
        until = min(waiting[key][1] for key in own)
        clauses.append(f"{some(own)} {are(own)} due: {attempt}, and asked for again at {until:%H:%M} UTC")
    for attempt, own in _by_attempt(refused):
        reason = reason_of(instance, attempt.run_id, own)
        clauses.append(
            f"{some(own)} {are(own)} due, and {ATTEMPTS} runs or more did not expire {them(own)}: {attempt}"
            f"{f' ({reason})' if reason else ''}; tried again once a day: look at the run and at `tierlake plan "
            "expiry`, or keep what must stay by `tierlake hold`"
        )
    return clauses


def _by_attempt(attempts: Mapping[str, Attempt]) -> Iterator[tuple[Attempt, list[str]]]:
    grouped: dict[Attempt, list[str]] = {}
    for key, attempt in attempts.items():
        grouped.setdefault(attempt, []).append(key)
    return iter(list(grouped.items())[:REASONS_SHOWN])
