"""Why a partition is where it is, what happens to it next, when, at what cost, and what blocks it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from tierlake.pipelines.lifecycle.decision import Decider, decider
from tierlake.pipelines.lifecycle.plan import TierMove
from tierlake.pipelines.lifecycle.undoable import newest_removals, still_waiting
from tierlake.pipelines.model.age import NextStep, is_past_retention, next_step, tier_at, window_of_key
from tierlake.pipelines.model.partition_key import PartitionKey
from tierlake.pipelines.query.catalog import kept_because
from tierlake.pipelines.query.placement import placed
from tierlake.pipelines.query.restore import unreadable
from tierlake.pipelines.runtime import formatting
from tierlake.pipelines.runtime.html import Shown
from tierlake.pipelines.runtime.table import Table
from tierlake.pipelines.tables.requested_keys import selected, unknown

if TYPE_CHECKING:
    from datetime import datetime

    from tierlake.pipelines.errors import UnknownPartition
    from tierlake.pipelines.metastore.document import DatasetDocument
    from tierlake.pipelines.metastore.handle import Handle
    from tierlake.pipelines.metastore.records import RemovalRecord, RemovedPartition
    from tierlake.pipelines.model.selection import Selection
    from tierlake.pipelines.model.spec import Tier
    from tierlake.pipelines.model.time_window import Window
    from tierlake.pipelines.query.placement import PlacedPartition
    from tierlake.pipelines.tables.snapshot import Snapshot

__all__ = ["Explanation", "explain", "explain_many"]


@dataclass(frozen=True, slots=True, repr=False)
class Explanation(Shown):
    """One partition's state, in words and in values.

    Attributes:
        key: The partition.
        text: One or two sentences.
        storage_class: Where it is; None when it is not in the table.
        tier: What the server's profile calls that class.
        age: At `as_of`; None without a window.
        monthly_cost: Storage in dollars a month; None where there is no price.
        next: What the policy does next: a tier, or `expire`; None when nothing comes.
        next_at: When; None when nothing comes, and in the past when it is overdue.
        blocked_by: What blocks the next step.
        undo_until: For an expired partition, when its grace ends.
        archived_files: Files that need a restore before they can be read.
    """

    key: str
    text: str
    storage_class: str | None = None
    tier: Tier | None = None
    age: timedelta | None = None
    monthly_cost: float | None = None
    next: str | None = None
    next_at: datetime | None = None
    blocked_by: str | None = None
    undo_until: datetime | None = None
    archived_files: int = 0

    def __str__(self) -> str:
        return self.text

    def _summary(self) -> str:
        tier = f" ({self.tier})" if self.tier else ""
        facts = [f"in {self.storage_class}{tier}" if self.storage_class else "not in the table"]
        facts += [f"next {self.next} on {formatting.day(self.next_at)}"] if self.next else []
        facts += [f"but {self.blocked_by}"] if self.blocked_by else []
        facts += [f"undo until {self.undo_until:%Y-%m-%d %H:%M}"] if self.undo_until else []
        return f"{self.key or '(all)'}: {', '.join(facts)}"

    def _parts(self) -> tuple[str, Table[tuple[str, str]]]:
        facts = [
            ("class", self.storage_class),
            ("tier", self.tier),
            ("age", formatting.age(self.age) if self.age is not None else None),
            ("$/month", formatting.money(self.monthly_cost) if self.monthly_cost is not None else None),
            ("next", self.next),
            ("on", formatting.day(self.next_at) if self.next_at else None),
            ("blocked by", self.blocked_by),
            ("undo until", f"{self.undo_until:%Y-%m-%d %H:%M}" if self.undo_until else None),
            ("files to restore", formatting.count(self.archived_files) if self.archived_files else None),
        ]
        return self.text, Table(["", ""], [(name, value) for name, value in facts if value], tuple)


def explain(handle: Handle, key: PartitionKey | str, as_of: datetime) -> Explanation:
    """Explain one partition; for an expired one, until when it can come back.

    Args:
        handle: The dataset.
        key: The partition.
        as_of: The instant at which the policy is evaluated.

    Raises:
        UnknownPartition: The table does not have it, and nothing of this key was expired.
    """
    requested = PartitionKey.parse(key) if isinstance(key, str) else key
    snapshot = handle.table.snapshot()
    part = placed(handle, snapshot, [requested], is_new=True).get(requested)
    if part is None:
        return _explain_expired(handle, snapshot, requested)
    return _explained(decider(handle, as_of), part, len(unreadable(handle, part.files)))


def explain_many(handle: Handle, selection: Selection, as_of: datetime) -> tuple[Explanation, ...]:
    """Explain partitions of the table, and expired ones that can come back, in key order.

    Args:
        handle: The dataset.
        selection: The partitions; all means those of the table.
        as_of: The instant at which the policy is evaluated.

    Raises:
        UnknownPartition: A key that nothing matches.
        SpecError: A wrong range.
    """
    snapshot = handle.table.snapshot()
    live = snapshot.by_partition()
    removals = {} if selection.is_all else newest_removals(handle, ("expire",))
    gone = [part.partition_key for _, part in still_waiting(handle, removals, {str(key) for key in live}).values()]

    def absent(key: PartitionKey) -> UnknownPartition | None:
        return None if str(key) in removals else unknown(handle.spec, snapshot, key)

    names = selected(handle.spec, snapshot.known_schema, selection, {*live, *gone}, absent)
    parts = placed(handle, snapshot, [key for key in names if key in live], is_new=True)
    deciding = decider(handle, as_of)
    waiting = unreadable(handle, [file for part in parts.values() for file in part.files])
    archived = Counter(file.live.key for file in waiting)
    return tuple(
        _explained(deciding, parts[key], archived[key])
        if key in parts
        else _explain_gone(handle, *removals[str(key)], deciding.document)
        for key in names
    )


def _explained(deciding: Decider, part: PlacedPartition, archived: int) -> Explanation:
    window = window_of_key(deciding.spec, part.key)
    explained = _explain_ageless(deciding, part) if window is None else _explain_live(deciding, part, window)
    if not archived:
        return explained
    what = f"{formatting.files(archived)} of it must be restored before it can be read (`tierlake restore`)."
    return replace(explained, text=f"{explained.text} {what}", archived_files=archived)


def _explain_live(deciding: Decider, part: PlacedPartition, window: Window) -> Explanation:
    spec, as_of = deciding.spec, deciding.as_of
    age = window.age(as_of)
    decision = deciding.decide(part)
    step, blocked = next_step(spec, age), None
    if is_past_retention(spec, age) and spec.retention.expire_after is not None:
        step = NextStep("expire", spec.retention.expire_after)
        kept, waits = kept_because(deciding.document, str(part.key), as_of), _waits(deciding)
        then = f"Its retention ended on {formatting.day(step.at(window))}"
        then += f", but it is {kept}." if kept else f", but it {waits}." if waits else ": the next expiry takes it out."
        blocked = kept or waits
    elif isinstance(decision, TierMove):
        step = NextStep(decision.tier, _begins(deciding, decision.tier))
        then = (
            f"The next tiering moves it to {decision.storage_class} ({decision.reason}), which costs "
            f"{formatting.money(decision.one_off)} and saves {formatting.money(decision.saved)} "
            f"{'until ' + formatting.day(decision.until) if decision.until else 'in 12 months'}."
        )
    elif decision is not None:
        blocked = decision.reason
        then = f"The policy asks for tier {tier_at(spec, age)}, but it stays: {blocked}."
    else:
        then = _what_comes(deciding, part, step, window)
    return Explanation(
        key=str(part.key),
        text=f"{_where(deciding, part, age)} {then}",
        storage_class="+".join(part.classes),
        tier=deciding.classes.tier_of(part),
        age=age,
        monthly_cost=deciding.classes.monthly(part),
        next=step.what if step else None,
        next_at=step.at(window) if step else None,
        blocked_by=blocked,
    )


def _what_comes(deciding: Decider, part: PlacedPartition, step: NextStep | None, window: Window) -> str:
    """Explain a partition that is where it belongs."""
    if step is None:
        return "It is where it belongs, and nothing comes after that."
    day = formatting.day(step.at(window))
    kept = kept_because(deciding.document, str(part.key), deciding.as_of)
    if step.what == "expire":
        return f"It is where it belongs and expires on {day}" + (f", unless it is still {kept}." if kept else ".")
    target = deciding.classes.target(step.what)
    if target is None:
        return f"On {day} it should go to tier {step.what}, for which {deciding.profile.name} has no storage class."
    after = deciding.monthly_in(part, step.what)
    price = f", at {formatting.money(after)} a month from then" if after is not None else ""
    return f"It is where it belongs and goes to {target} ({step.what}) on {day}{price}."


def _explain_ageless(deciding: Decider, part: PlacedPartition) -> Explanation:
    why = "it is no window of time, so no age moves or expires it"
    return Explanation(
        key=str(part.key),
        text=f"{_where(deciding, part, None)} It stays there: {why}.",
        storage_class="+".join(part.classes),
        tier=deciding.classes.tier_of(part),
        monthly_cost=deciding.classes.monthly(part),
    )


def _explain_expired(handle: Handle, snapshot: Snapshot, key: PartitionKey) -> Explanation:
    name = str(key)
    record = handle.journal.latest_removal(name, ("expire",))
    gone = record.partition(name) if record else None
    if record is None or gone is None:
        raise unknown(handle.spec, snapshot, key)
    return _explain_gone(handle, record, gone, handle.document.read() if handle.document is not None else None)


def _explain_gone(
    handle: Handle, record: RemovalRecord, gone: RemovedPartition, document: DatasetDocument | None
) -> Explanation:
    name = gone.key
    amount = f"{formatting.files(gone.totals.files)}, {formatting.size(gone.bytes)}"
    left = f"{name} ({amount}) was expired on {formatting.day(record.committed_at or record.at)}: {gone.reason}."
    is_over = not record.undoable or handle.clock.now() >= record.undo_until
    held = document.holds.get(name) if document is not None else None
    is_dropped = document is not None and document.dropped is not None
    stays = f"while it is held ({held.reason}) its files stay" if held else "after that `vacuum` deletes its files"
    if is_over:
        then = "Undo is no longer possible; ingest it again from its source to have it back."
        then += f" It is held ({held.reason}): its files stay until `tierlake release`." if held else ""
    else:
        how = "`tierlake undrop` brings it back" if is_dropped else "It can be undone"
        then = f"{how} until {record.undo_until:%Y-%m-%d %H:%M %Z}; {stays}."
    return Explanation(key=name, text=f"{left} {then}", undo_until=None if is_over else record.undo_until)


def _where(deciding: Decider, part: PlacedPartition, age: timedelta | None) -> str:
    tier = deciding.classes.tier_of(part)
    facts = [formatting.files(len(part.files)), formatting.size(part.bytes)]
    facts += [f"{formatting.age(age)} old"] if age is not None else []
    facts += [f"{formatting.money(deciding.classes.monthly(part))} a month"]
    place = " and ".join(part.classes) + (f" ({tier})" if tier else "")
    return f"{part.key} ({', '.join(facts)}) is in {place}."


def _begins(deciding: Decider, tier: Tier) -> timedelta:
    return next((step.after for step in deciding.spec.tiers if step.tier == tier), timedelta(0))


def _waits(deciding: Decider) -> str | None:
    names = ", ".join(deciding.spec.retention.after)
    return f"waits for {names} to see it" if names else None
