"""How requested runs ended, and when to request again.

A run ends in many ways: it fails, somebody terminates it, its worker is killed without a word. Whatever it left undone
is requested again: at once, then later and later, never more than a few runs at a time. Partitions that failed go in
smaller batches with the next attempt, so that one bad partition holds up no other. After `ATTEMPTS` they are named,
with a remedy, and tried once a day.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import dagster as dg

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

__all__ = ["ATTEMPTS", "Attempt", "Attempts", "Turn", "is_at_work", "read_attempts", "reason_of", "take_turns"]

ATTEMPTS: Final = 3
"""How often a partition fails before it is named, with a remedy."""

STUCK_AFTER: Final = timedelta(hours=1)
"""A started run that has logged nothing for so long is lost: its worker died, and nobody noticed."""

RUNS_READ: Final = 5000
"""The newest runs of a job, all of which may have failed within `_REMEMBERED`."""

RUNS_PER_TICK: Final = 10

FAILURES: Final = "failures"
"""Metadata of a failed step: by partition, why it could not be done."""

_DELAYS: Final = (timedelta(0), timedelta(0), timedelta(minutes=15))
_LATER: Final = timedelta(days=1)
_REMEMBERED: Final = (ATTEMPTS + 1) * _LATER
"""How long an attempt counts: long enough that a partition which is tried once a day stays refused."""

_PAGE: Final = 200
_REFUSED_RUNS: Final = 100
"""Runs a day, about, for all refused partitions: thousands go together, and a run expires those that it can."""

_KEYS_PER_RUN: Final = (500, 50, 5)
_QUEUED: Final = frozenset({dg.DagsterRunStatus.QUEUED})
_RUNNING: Final = frozenset(
    {
        dg.DagsterRunStatus.NOT_STARTED,
        dg.DagsterRunStatus.STARTING,
        dg.DagsterRunStatus.STARTED,
        dg.DagsterRunStatus.CANCELING,
    }
)
_WORDS: Final = {
    dg.DagsterRunStatus.FAILURE: "failed",
    dg.DagsterRunStatus.CANCELED: "was terminated",
    dg.DagsterRunStatus.SUCCESS: "left it undone",
}


@dataclass(frozen=True, slots=True)
class Attempt:
    """A run that is over, or lost.

    Attributes:
        run_id: The run.
        how: How it ended, as the rest of a sentence.
        at: When; of a lost one, its last sign of life. By Dagster's clock.
        keys: The requested partitions.
    """

    run_id: str
    how: str
    at: datetime
    keys: frozenset[str]

    def __str__(self) -> str:
        """A clause."""
        return f"run {self.run_id} {self.how} at {self.at:%Y-%m-%d %H:%M} UTC"


@dataclass(frozen=True, slots=True)
class Attempts:
    """The runs of one job.

    Attributes:
        busy: By key, the run that is at work on it, or queued.
        over: Those that ended, newest first.
    """

    busy: Mapping[str, str]
    over: tuple[Attempt, ...]
    _by_key: Mapping[str, list[Attempt]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index the attempts: thousands of keys are looked up, after thousands of runs."""
        by_key: dict[str, list[Attempt]] = {}
        for one in self.over:
            for key in one.keys:
                by_key.setdefault(key, []).append(one)
        object.__setattr__(self, "_by_key", by_key)

    def of(self, key: str, since: datetime | None) -> list[Attempt]:
        """The attempts on a key, newest first.

        Args:
            key: The requested partition.
            since: When it became what it is; earlier attempts were on other rows.
        """
        earliest = since.replace(microsecond=0) if since else None  # run storages keep whole seconds
        return [one for one in self._by_key.get(key, ()) if earliest is None or one.at >= earliest]


@dataclass(frozen=True, slots=True)
class Turn:
    """What one tick requests.

    Attributes:
        batches: The keys of a run each.
        again: The last attempt on each key that is requested again.
        waiting: Of each key that has to wait, the last attempt, and until when.
        refused: Of each key that failed often enough to be named, the last attempt. It may be requested again.
    """

    batches: tuple[tuple[str, ...], ...]
    again: Mapping[str, Attempt]
    waiting: Mapping[str, tuple[Attempt, datetime]]
    refused: Mapping[str, Attempt]


def read_attempts(
    instance: dg.DagsterInstance,
    job: str,
    tags: Mapping[str, str],
    keys_of: Callable[[dg.DagsterRun], Iterable[str]],
    now: datetime,
) -> Attempts:
    """Look at the newest runs of a job.

    Args:
        instance: The Dagster instance.
        job: Its name.
        tags: Which its runs have.
        keys_of: Returns the requested keys of a run.
        now: The time by Dagster's clock.
    """
    only = dg.RunsFilter(job_name=job, tags=dict(tags))
    busy: dict[str, str] = {}
    over: list[Attempt] = []
    for record in _newest_runs(instance, only, now):
        run = record.dagster_run
        keys = frozenset(keys_of(run))
        last_sign = _last_sign(instance, record)
        may_go_on = run.status in _RUNNING or _is_to_be_retried(run)
        if run.status in _QUEUED or (may_go_on and now - last_sign < STUCK_AFTER):
            busy |= dict.fromkeys(keys, run.run_id)
        elif run.status in _RUNNING:
            over.append(Attempt(run.run_id, "has been silent, and is taken for lost,", last_sign, keys))
        else:
            over.append(Attempt(run.run_id, _WORDS.get(run.status, "ended"), last_sign, keys))
    return Attempts(busy, tuple(sorted(over, key=lambda one: one.at, reverse=True)))


def _is_to_be_retried(run: dg.DagsterRun) -> bool:
    """Whether Dagster's daemon is about to start a failed run again by itself (`run_retries` of the instance)."""
    return run.tags.get("dagster/will_retry") == "true" and "dagster/auto_retry_run_id" not in run.tags


def _newest_runs(instance: dg.DagsterInstance, only: dg.RunsFilter, now: datetime) -> Iterator[dg.RunRecord]:
    """The runs that count, newest first; usually one page."""
    cursor: str | None = None
    for _ in range(0, RUNS_READ, _PAGE):
        page = instance.get_run_records(only, limit=_PAGE, cursor=cursor)
        yield from page
        if len(page) < _PAGE or now - _utc(page[-1].create_timestamp) > _REMEMBERED:
            return
        cursor = page[-1].dagster_run.run_id


def take_turns(
    keys: Sequence[str], attempts: Attempts, since: Mapping[str, datetime], now: datetime, most: int = _KEYS_PER_RUN[0]
) -> Turn:
    """Choose what is requested now, and what has to wait.

    Args:
        keys: The partitions that are due, in order.
        attempts: How earlier runs ended.
        since: When keys became what they are; see `Attempts.of`.
        now: The time by Dagster's clock.
        most: Keys of a run.
    """
    ready: dict[int, list[tuple[datetime, str]]] = {}
    again: dict[str, Attempt] = {}
    waiting: dict[str, tuple[Attempt, datetime]] = {}
    refused: dict[str, Attempt] = {}
    for key in keys:
        if key in attempts.busy:
            continue
        earlier = attempts.of(key, since.get(key))
        number = len(earlier)
        if not earlier:
            ready.setdefault(0, []).append((datetime.min.replace(tzinfo=UTC), key))
            continue
        last = earlier[0]
        if number >= ATTEMPTS:
            refused[key] = last
        until = last.at + (_DELAYS[number] if number < ATTEMPTS else _LATER)
        if now < until:
            waiting[key] = (last, until)
        else:
            again[key] = last
            ready.setdefault(min(number, ATTEMPTS), []).append((last.at, key))
    batches: list[tuple[str, ...]] = []
    for number, some in sorted(ready.items()):  # what was never tried goes first, then what has waited longest
        of_refused = max(1, len(refused) // _REFUSED_RUNS)
        size = min(most, _KEYS_PER_RUN[number] if number < len(_KEYS_PER_RUN) else of_refused)
        ordered = some if number == 0 else sorted(some)
        batches += [tuple(key for _, key in ordered[start : start + size]) for start in range(0, len(ordered), size)]
    return Turn(tuple(batches[:RUNS_PER_TICK]), again, waiting, refused)


def is_at_work(instance: dg.DagsterInstance, run_id: str, now: datetime | None = None) -> bool:
    """Whether a run is under way and has given a sign of life lately.

    Args:
        instance: The Dagster instance.
        run_id: The run; one that was deleted is not.
        now: The time by Dagster's clock; the present by default.
    """
    records = instance.get_run_records(dg.RunsFilter(run_ids=[run_id]), limit=1)
    if not records or records[0].dagster_run.status not in _RUNNING | _QUEUED:
        return False
    is_queued = records[0].dagster_run.status in _QUEUED
    return is_queued or (now or datetime.now(UTC)) - _last_sign(instance, records[0]) < STUCK_AFTER


def reason_of(instance: dg.DagsterInstance, run_id: str, keys: Sequence[str]) -> str:
    """Why a run failed on the first of these keys that it names, or at all; empty where its log has no reason."""
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
        failure = entry.get_dagster_event().step_failure_data
        user, failures = failure.user_failure_data, None
        if user is not None:
            failures = user.metadata.get(FAILURES)
            of_keys = failures.value if failures is not None else {}
            named = next((of_keys[key] for key in keys if key in of_keys), None) if isinstance(of_keys, dict) else None
            return str(named or user.description or user.label)
        if failure.error is not None:
            return failure.error.message.strip().splitlines()[0]
    return ""


def _last_sign(instance: dg.DagsterInstance, record: dg.RunRecord) -> datetime:
    """When a run ended, or gave its last sign of life."""
    if record.dagster_run.is_finished:
        return datetime.fromtimestamp(record.end_time, UTC) if record.end_time else _utc(record.update_timestamp)
    newest = instance.get_records_for_run(record.dagster_run.run_id, limit=1, ascending=False).records
    changed = _utc(record.update_timestamp)
    return max(changed, *(datetime.fromtimestamp(event.timestamp, UTC) for event in newest), changed)


def _utc(at: datetime) -> datetime:
    """Run storages give times in UTC, some of them without a zone."""
    return at if at.tzinfo else at.replace(tzinfo=UTC)
