"""What retention asks for, now and next: by the table's log and the description alone.

Where the files lie and what they cost is no part of the question, so the store is not listed: at 10,000 partitions a
listing takes longer than all the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, TypeAlias

from pipelines import units
from pipelines.catalog import kept_because
from pipelines.layout import PartitionKey
from pipelines.lifecycle import is_past_retention, window_of_key
from pipelines.plan import Refusal

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from datetime import timedelta

    from pipelines.handle import Handle
    from pipelines.tables.protocol import LiveFile, Snapshot

__all__ = ["ExpiryOutlook", "Materialized", "expiry_outlook"]

Materialized: TypeAlias = Mapping[str, Callable[[PartitionKey], datetime | None]]
"""What downstream assets have seen: by asset, a function from a partition to the instant of the latest materialization
that depends on it; None: never."""


@dataclass(frozen=True, slots=True)
class ExpiryOutlook:
    """What is past its retention, and what will be.

    Attributes:
        as_of: the instant that ages count to.
        snapshot: the table that was looked at.
        live: its partitions and their files, in key order.
        due: partitions that expire now, each with its age.
        refused: those that would and are kept, each with the reason.
        next_key: the partition that comes due next; None where none will.
        next_at: when.
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
) -> ExpiryOutlook:
    """Look at a dataset: one read of its description, one of its table.

    Args:
        handle: the dataset.
        as_of: the instant that ages count to.
        materialized: what the assets of `retention.after` have seen. Without it nothing is known of them, and what
            should wait for them waits.
        empty: partitions that are somebody's though the table has no rows of them; they come due like the others.
    """
    spec = handle.spec
    document = handle.document.read() if handle.document else None
    snapshot = handle.table.snapshot()
    live = snapshot.by_partition()
    after = spec.retention.expire_after
    due: dict[PartitionKey, timedelta] = {}
    reasons: dict[PartitionKey, str] = {}
    coming: list[tuple[datetime, PartitionKey]] = []
    asked = [*live, *(key for key in empty if key not in live)]
    for key in asked if after is not None else ():
        window = window_of_key(spec, key)
        if window is None or after is None:
            continue
        age = window.age(as_of)
        if not is_past_retention(spec, age):
            coming.append((window.end + after, key))
            continue
        kept = kept_because(document, str(key), as_of)
        if kept is None:
            due[key] = age
        else:
            reasons[key] = kept
    if spec.retention.after:
        reasons |= _waiting(handle, snapshot, due, materialized)
    due = {key: age for key, age in due.items() if key not in reasons}
    refused = tuple(Refusal(key=str(key), reason=reasons[key]) for key in asked if key in reasons)
    next_at, next_key = min(coming, default=(None, None))
    return ExpiryOutlook(as_of, snapshot, live, due, refused, next_key, next_at)


def _waiting(
    handle: Handle, snapshot: Snapshot, keys: Collection[PartitionKey], materialized: Materialized | None
) -> dict[PartitionKey, str]:
    """Which partitions some downstream asset has not seen since their rows last changed, each with why, in words."""
    names = handle.spec.retention.after
    if materialized is None:
        reason = f"waits for {', '.join(names)}: only Dagster knows whether they have seen it"
        return dict.fromkeys(keys, reason)
    seen = {key: {name: _seen(name, key, materialized) for name in names} for key in keys}
    earliest = {key: min(times) for key, by_name in seen.items() if (times := _known(by_name.values()))}
    since = min(earliest.values(), default=None)
    changes = handle.table.changes(snapshot, earliest, since) if since is not None else {}
    files = snapshot.by_partition()
    waiting = {}
    for key, by_name in seen.items():
        changed = changes.get(key)
        behind = [name for name, at in by_name.items() if at is None or (changed is not None and at < changed)]
        if behind:
            last = changed or max((file.modified for file in files.get(key, ())), default=None)
            when = f"its last change on {units.day(last)}" if last is not None else "it was emptied"
            waiting[key] = f"waits for {', '.join(behind)} to be materialized after {when}"
    return waiting


def _known(times: Iterable[datetime | None]) -> list[datetime]:
    return [at for at in times if at is not None]


def _seen(name: str, key: PartitionKey, materialized: Materialized) -> datetime | None:
    return materialized[name](key) if name in materialized else None
