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
    from collections.abc import Sequence
    from datetime import timedelta

    from pipelines.handle import Handle
    from pipelines.spec import DatasetSpec
    from pipelines.tables.protocol import LiveFile, Snapshot

__all__ = ["ExpiryOutlook", "Materialized", "expiry_outlook", "waits_for"]

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


def expiry_outlook(handle: Handle, as_of: datetime, materialized: Materialized | None = None) -> ExpiryOutlook:
    """Look at a dataset: one read of its description, one of its table.

    Args:
        handle: the dataset.
        as_of: the instant that ages count to.
        materialized: what the assets of `retention.after` have seen. Without it nothing is known of them, and what
            should wait for them waits.
    """
    spec = handle.spec
    document = handle.document.read() if handle.document else None
    snapshot = handle.table.snapshot()
    live = snapshot.by_partition()
    after = spec.retention.expire_after
    due: dict[PartitionKey, timedelta] = {}
    refused: list[Refusal] = []
    coming: list[tuple[datetime, PartitionKey]] = []
    for key, files in live.items() if after is not None else ():
        window = window_of_key(spec, key)
        if window is None or after is None:
            continue
        age = window.age(as_of)
        if not is_past_retention(spec, age):
            coming.append((window.end + after, key))
            continue
        kept = kept_because(document, str(key), as_of) or waits_for(spec, key, files, materialized)
        if kept is None:
            due[key] = age
        else:
            refused.append(Refusal(key=str(key), reason=kept))
    next_at, next_key = min(coming, default=(None, None))
    return ExpiryOutlook(as_of, snapshot, live, due, tuple(refused), next_key, next_at)


def waits_for(
    spec: DatasetSpec, key: PartitionKey, files: Sequence[LiveFile], materialized: Materialized | None
) -> str | None:
    """Which downstream assets have not seen a partition since its last change, in words; None where all have."""
    if not spec.retention.after:
        return None
    changed = max(file.modified for file in files)
    unseen = [name for name in spec.retention.after if not _has_seen(name, key, changed, materialized)]
    if not unseen:
        return None
    names = ", ".join(unseen)
    if materialized is None:
        return f"waits for {names}: only Dagster knows whether they have seen it"
    return f"waits for {names} to be materialized after its last change on {units.day(changed)}"


def _has_seen(name: str, key: PartitionKey, changed: datetime, materialized: Materialized | None) -> bool:
    at = materialized[name](key) if materialized and name in materialized else None
    return at is not None and at >= changed
