"""Which partitions are past their retention, now and next, by the table's log and the description alone.

Storage classes and costs are not needed here, so the store is not listed: at 10,000 partitions a listing takes longer
than all the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from tierlake.pipelines.lifecycle.plan import Refusal
from tierlake.pipelines.model.age import is_past_retention, window_of_key
from tierlake.pipelines.model.instant import instant_after
from tierlake.pipelines.model.partition_key import PartitionKey
from tierlake.pipelines.query.catalog import kept_because
from tierlake.pipelines.runtime import formatting

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime, timedelta

    from tierlake.pipelines.metastore.handle import Handle
    from tierlake.pipelines.tables.snapshot import LiveFile, Snapshot
    from tierlake.pipelines.tables.states import RowChanges

__all__ = ["ExpiryOutlook", "Materialized", "Reading", "expiry_outlook"]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a partition of a downstream asset was computed from: the dataset at a state, or before an instant.

    It has seen changes up to the state. Where there is no state, or the table has forgotten it, it has seen changes up
    to one of the instants. Without an instant, it has seen nothing.

    Attributes:
        by: The downstream asset's partition; empty for an asset without partitions.
        state: `Dataset.state()` before the rows were read; empty where it was not recorded.
        at: An instant, by the store's clock, at which nothing had been read yet.
        later: Functions that return a later instant or None; called while the earlier ones are not enough.
        remedy: What to do where it has not seen the last change; by default, materialize it again.
    """

    by: str = ""
    state: str = ""
    at: datetime | None = None
    later: tuple[Callable[[], datetime | None], ...] = field(default=(), compare=False, repr=False)
    remedy: str = ""

    @property
    def is_of_nothing(self) -> bool:
        """Whether nothing is known to have been read."""
        return not self.state and self.at is None and not self.later


Materialized: TypeAlias = Mapping[str, Callable[[Collection[PartitionKey]], Mapping[PartitionKey, Sequence[Reading]]]]
"""What downstream assets have read. For each asset, a function takes partitions of the dataset and returns, by
partition, the readings that depend on it. Partitions without readings do not wait."""


@dataclass(frozen=True, slots=True)
class ExpiryOutlook:
    """Partitions past their retention, and the next to come due.

    Attributes:
        as_of: The instant that ages count to.
        snapshot: The table that was looked at.
        live: Its partitions and their files, in key order.
        due: Partitions that expire now, each with its age.
        refused: Partitions that are due and kept, each with the reason.
        next_key: The partition that comes due next; None where none will.
        next_at: When.
    """

    as_of: datetime
    snapshot: Snapshot
    live: Mapping[PartitionKey, Sequence[LiveFile]]
    due: Mapping[PartitionKey, timedelta]
    refused: tuple[Refusal, ...]
    next_key: PartitionKey | None
    next_at: datetime | None


def expiry_outlook(
    handle: Handle,
    as_of: datetime,
    materialized: Materialized | None = None,
    empty: Iterable[PartitionKey] = (),
    *,
    keys: Collection[PartitionKey] | None = None,
) -> ExpiryOutlook:
    """Look at a dataset: one read of its description, one of its table.

    Args:
        handle: The dataset.
        as_of: The instant that ages count to.
        materialized: What the assets of `retention.after` have read. Without it, partitions that depend on them wait.
        empty: Partitions without rows in the table that a caller tracks all the same; they come due like the others.
        keys: Only these partitions of the table; None means all.
    """
    spec = handle.spec
    document = handle.document.read() if handle.document else None
    snapshot = handle.table.snapshot()
    live = snapshot.by_partition(keys)
    after = spec.retention.expire_after
    due: dict[PartitionKey, timedelta] = {}
    reasons: dict[PartitionKey, str] = {}
    coming: list[tuple[datetime, PartitionKey]] = []
    candidates = [*live, *(key for key in empty if key not in live)]
    for key in candidates if after is not None else ():
        window = window_of_key(spec, key)
        if window is None or after is None:
            continue
        age = window.age(as_of)
        if not is_past_retention(spec, age):
            coming.append((instant_after(window.end, after), key))
            continue
        kept = kept_because(document, key, as_of)
        if kept is None:
            due[key] = age
        else:
            reasons[key] = kept
    if spec.retention.after:
        reasons |= _waiting(handle, snapshot, due, materialized)
    due = {key: age for key, age in due.items() if key not in reasons}
    refused = tuple(Refusal(key=str(key), reason=reasons[key]) for key in candidates if key in reasons)
    next_at, next_key = min(coming, default=(None, None))
    return ExpiryOutlook(as_of, snapshot, live, due, refused, next_key, next_at)


def _waiting(
    handle: Handle, snapshot: Snapshot, keys: Collection[PartitionKey], materialized: Materialized | None
) -> dict[PartitionKey, str]:
    """Partitions whose last change some downstream asset has not seen, each with the reason in words."""
    names = handle.spec.retention.after
    if materialized is None:
        reason = f"waits for {', '.join(names)}: only Dagster knows whether they have seen it"
        return dict.fromkeys(keys, reason)
    readings = {name: materialized[name](keys) for name in names if name in materialized} if keys else {}
    judge = _Judge(
        handle, snapshot, [(key, one) for by_key in readings.values() for key in keys for one in by_key.get(key, ())]
    )
    files = snapshot.by_partition()
    waiting: dict[PartitionKey, str] = {}
    for key in keys:
        reasons = [
            _unseen(name, behind, judge.day_of_change(key, files.get(key, ())))
            for name, by_key in readings.items()
            if (behind := [one for one in by_key.get(key, ()) if not judge.has_seen(key, one)])
        ]
        reasons += [f"waits for {name}, which is not computed from it here" for name in names if name not in readings]
        if reasons:
            waiting[key] = "; ".join(reasons)
    return waiting


class _Judge:
    """Decides whether readings have seen the last change of partitions; the log is read once for all of them."""

    def __init__(self, handle: Handle, snapshot: Snapshot, pairs: Collection[tuple[PartitionKey, Reading]]) -> None:
        states = {one.state for _, one in pairs if one.state}
        self._states: RowChanges | None = handle.table.changes_since(states) if states else None
        undecided = [(key, one) for key, one in pairs if not one.is_of_nothing and self._by_state(key, one) is None]
        first = [at for _, one in undecided if (at := next(_instants(one), None)) is not None]
        keys = {key for key, _ in undecided}
        self._changes = handle.table.changes(snapshot, keys, min(first)) if first else {}

    def has_seen(self, key: PartitionKey, reading: Reading) -> bool:
        by_state = self._by_state(key, reading)
        if by_state is not None:
            return by_state
        changed = self._changes.get(key)
        return any(changed is None or changed <= at for at in _instants(reading))

    def day_of_change(self, key: PartitionKey, files: Iterable[LiveFile]) -> str:
        last = self._changes.get(key) or max((file.modified for file in files), default=None)
        return formatting.day(last) if last is not None else "an unknown day"

    def _by_state(self, key: PartitionKey, reading: Reading) -> bool | None:
        if self._states is None or not reading.state:
            return None
        changed = self._states.is_changed(key, reading.state)
        return None if changed is None else not changed


def _instants(reading: Reading) -> Iterator[datetime]:
    """The instants that a reading names, the earliest first; the later ones are computed on demand."""
    if reading.at is not None:
        yield reading.at
    for later in reading.later:
        if (at := later()) is not None:
            yield at


def _unseen(name: str, behind: Sequence[Reading], day: str) -> str:
    """Why a partition waits for a downstream asset, and what to do."""
    first = behind[0]
    who = " ".join(filter(None, (name, first.by))) + (f" and {len(behind) - 1} more" if len(behind) > 1 else "")
    if first.remedy:
        return f"waits for {who}, {first.remedy}"
    if first.is_of_nothing:
        return f"waits for {who} to be materialized: it never was"
    return f"waits for {who} to be materialized again: it has not read the last change, on {day}"
