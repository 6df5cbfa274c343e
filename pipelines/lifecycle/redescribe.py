"""Changing a dataset's description: show the effect of a new one, and make it the stored one.

    diff = flights.diff("flights.yaml")
    print(diff)        # field by field; which partitions become due, which moves and costs change
    diff.apply()

A change is a compare-and-swap against the description that the diff was made on, and the history names its author. In
this order, so that after a crash anywhere the table still agrees with its description:

    1. the journal gets a record
    2. the table gets what the new description needs: a longer log retention, new columns
    3. the description is swapped
    4. the record is completed
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Self

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, PrivateAttr

from tierlake.connector.errors import UnsupportedByServer
from tierlake.pipelines.errors import CommitConflict, PolicyRefused, SchemaMismatch, SpecError, UnsupportedByTable
from tierlake.pipelines.lifecycle.expiry import plan_expiry
from tierlake.pipelines.lifecycle.plan import Refusal
from tierlake.pipelines.lifecycle.tiering import plan_tiering
from tierlake.pipelines.metastore.opening import check_honoured, described_anew, table_properties
from tierlake.pipelines.metastore.records import PolicyRecord
from tierlake.pipelines.model.partition_types import check_partitioned
from tierlake.pipelines.model.spec import DatasetSpec
from tierlake.pipelines.model.spec_diff import FieldChange, completed, differences
from tierlake.pipelines.model.stored_types import check_names, declared_schema, storable_schema
from tierlake.pipelines.query.catalog import read_catalog
from tierlake.pipelines.runtime import formatting
from tierlake.pipelines.runtime.after_commit import after_commit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tierlake.pipelines.lifecycle.outlook import Materialized
    from tierlake.pipelines.lifecycle.plan import ExpiryPlan, TieringPlan
    from tierlake.pipelines.metastore.document import DatasetDocument, DocumentStore
    from tierlake.pipelines.metastore.handle import Handle
    from tierlake.pipelines.tables.protocol import Snapshot

__all__ = ["Effect", "RefusedField", "SpecChange", "SpecDiff", "apply_diff", "diff_spec"]

_SHOWN = 20
_NEVER_CHANGES = {
    "format": "the files lie as that format has them",
    "partition": "the files lie in folders that it names, and readers and downstream assets go by their keys",
}
_INTERVAL = re.compile(r"interval (?P<number>\d+) (?P<unit>second|minute|hour|day|week)s?")


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class RefusedField(_Value):
    """A field that cannot change, and why."""

    field: str
    reason: str


class ChangedMove(_Value):
    """A partition whose next move changes.

    Attributes:
        key: The partition.
        before: The storage class to which the stored description moves it; None where it stays.
        after: The same by the new description.
    """

    key: str
    before: str | None
    after: str | None


class Effect(_Value):
    """What a new description would do at once, compared with the stored one.

    Attributes:
        due: Partitions that the next expiry removes by the new description only.
        due_bytes: Their size.
        no_longer_due: Partitions that it removes by the stored description only.
        kept: Partitions that come due and are kept, with the reason.
        moves: Partitions whose next move of tiers changes.
        monthly: Storage in dollars a month as it is; None where there is no price.
        monthly_before: The same after the stored description's plans.
        monthly_after: The same after the new description's plans.
        one_off_before: What the moves cost by the stored description.
        one_off_after: What the moves cost by the new one.
    """

    due: tuple[str, ...] = ()
    due_bytes: int = 0
    no_longer_due: tuple[str, ...] = ()
    kept: tuple[Refusal, ...] = ()
    moves: tuple[ChangedMove, ...] = ()
    monthly: float | None = None
    monthly_before: float | None = None
    monthly_after: float | None = None
    one_off_before: float = 0.0
    one_off_after: float = 0.0

    def lines(self) -> Iterator[str]:
        """For people."""
        if self.due:
            yield f"become due: {_span(self.due)}, {formatting.size(self.due_bytes)}: the next expiry takes them out"
        if self.no_longer_due:
            yield f"no longer due: {_span(self.no_longer_due)}"
        reasons: dict[str, list[str]] = {}
        for one in self.kept:
            reasons.setdefault(one.reason, []).append(one.key)
        for reason, keys in reasons.items():
            yield f"come due and stay: {_span(keys)}: {reason}"
        moves: dict[tuple[str | None, str | None], list[str]] = {}
        for move in self.moves:
            moves.setdefault((move.before, move.after), []).append(move.key)
        for (before, after), keys in moves.items():
            if after is None:
                yield f"no longer move to {before}: {_span(keys)}"
            else:
                yield f"move to {after}{f', not to {before}' if before else ''}: {_span(keys)}"
        if not (self.due or self.no_longer_due or self.kept or self.moves):
            yield "no partition comes due or moves by it now"
        money = [formatting.money(each) for each in (self.monthly, self.monthly_before, self.monthly_after)]
        yield f"storage a month: {money[0]} now, {money[1]} after the plans as stored, {money[2]} after the new ones"
        if self.one_off_before or self.one_off_after:
            once = formatting.money(self.one_off_before), formatting.money(self.one_off_after)
            yield f"moves once: {once[0]} as stored, {once[1]} then"


class SpecDiff(_Value):
    """How a description differs from the stored one, and what it would do; nothing was written.

    Attributes:
        uri: The dataset.
        as_of: The instant at which the policies were evaluated.
        before: The stored description.
        after: The new one.
        changes: The fields that differ.
        refused: Those of them that cannot change.
        is_in_use: False where the dataset was dropped, so that nothing can change.
        effect: What it would do at once; None where nothing differs, a field cannot change, or it was not requested.
    """

    uri: str
    as_of: datetime
    before: DatasetSpec
    after: DatasetSpec
    changes: tuple[FieldChange, ...] = ()
    refused: tuple[RefusedField, ...] = ()
    is_in_use: bool = True
    effect: Effect | None = None

    _apply: Callable[..., SpecChange] | None = PrivateAttr(default=None)

    @property
    def differs(self) -> bool:
        """Whether there is any difference."""
        return bool(self.changes)

    def bind(self, apply: Callable[..., SpecChange]) -> Self:
        """The diff, able to apply itself."""
        bound = self.model_copy()
        bound._apply = apply  # noqa: SLF001 - a copy of ourselves
        return bound

    def apply(self, *, reason: str = "", run_id: str | None = None) -> SpecChange:
        """Store the new description, if the stored one is unchanged since the diff was made.

        Args:
            reason: Why, for the history.
            run_id: Who did it, for the history.

        Raises:
            SpecError: A field cannot change; the message says why, and the way out.
            CommitConflict: Somebody else has changed the description since.
        """
        if self._apply is None:
            raise SpecError(f"this diff of {self.uri} is bound to no open dataset", hint="Dataset.diff(spec) makes one")
        return self._apply(self, reason=reason, run_id=run_id)

    def check(self) -> None:
        """Refuse what cannot change.

        Raises:
            SpecError: It names each such field with the reason.
            PolicyRefused: The dataset was dropped.
        """
        if not self.is_in_use:
            raise PolicyRefused(
                f"{self.uri} was dropped", hint=f"`tierlake undrop {self.uri}` takes it back, if it can be"
            )
        if self.refused:
            raise SpecError(
                f"{self.uri} cannot change so: " + "; ".join(f"{one.field}: {one.reason}" for one in self.refused),
                hint="create a dataset of its own under another URI with the new description, and ingest this one's "
                "rows into it; nothing was changed",
            )

    def __str__(self) -> str:
        dropped = "" if self.is_in_use else f"\n\n{self.uri} was dropped: `tierlake undrop` takes it back"
        if not self.changes:
            return f"{self.uri} is as described{dropped}"
        rows = ((one.field, one.before or "-", one.after or "-") for one in self.changes)
        count = len(self.changes)
        head = f"{self.uri} differs from the description in {count} field{'s' * (count > 1)}"
        parts = [formatting.table_text(["field", "stored", "described"], rows, title=head)]
        parts += [f"{one.field} cannot change: {one.reason}" for one in self.refused]
        if self.effect is not None:
            parts.append("\n".join([f"as of {formatting.day(self.as_of)}", *self.effect.lines()]))
        return "\n\n".join(parts) + dropped


@dataclass(frozen=True, slots=True)
class SpecChange:
    """What applying a description did.

    Attributes:
        uri: The dataset.
        changed: False where it was the stored one already.
        changes: The fields that changed.
        version: The table's version that has its properties; None where they stayed, or there are none.
    """

    uri: str
    changed: bool
    changes: tuple[FieldChange, ...] = ()
    version: int | None = None

    def __str__(self) -> str:
        if not self.changed:
            return f"{self.uri} is as described: nothing changed"
        return f"{self.uri} changed: " + "; ".join(map(str, self.changes))


# -- looking ----------------------------------------------------------------------------------------------------------


def diff_spec(
    handle: Handle,
    described: DatasetSpec | Mapping[str, object],
    as_of: datetime,
    materialized: Materialized | None = None,
    *,
    with_effect: bool = True,
) -> SpecDiff:
    """How a description differs from the stored one, and what it would do; nothing is written.

    Args:
        handle: The dataset.
        described: A whole description, or some fields of one.
        as_of: The instant at which the policies are evaluated.
        materialized: What the assets of `retention.after` have read; see `plan_expiry`.
        with_effect: Whether to compute the effect, which lists the store; the fields alone cost one request.

    Raises:
        SpecError: The description is of another dataset, or contradicts itself.
        UnsupportedByTable: The table has no stored description.
    """
    _check_place(handle, described)
    document = _document(handle).read()
    before = _stored(handle, document)
    after = completed(before, described)
    changes = differences(before, after)
    refused: tuple[RefusedField, ...] = ()
    effect = None
    if changes:
        check_partitioned(after.partition, declared_schema(after.columns))
        check_honoured(handle.fs, after)
        snapshot = handle.table.snapshot()
        refused = tuple(_refused(changes, after, snapshot))
        effect = None if refused or not with_effect else _effect(handle, before, after, as_of, materialized)
    return SpecDiff(
        uri=before.uri,
        as_of=as_of,
        before=before,
        after=after,
        changes=changes,
        refused=refused,
        is_in_use=document.dropped is None,
        effect=effect,
    )


def _check_place(handle: Handle, described: DatasetSpec | Mapping[str, object]) -> None:
    uri = described.get("uri") if not isinstance(described, DatasetSpec) else described.uri
    if uri is not None and DatasetSpec(uri=str(uri)).uri != handle.spec.uri:
        raise SpecError(
            f"uri cannot change: the description is of {uri}, the dataset is {handle.spec.uri}",
            hint="create a dataset of its own under the other URI, and ingest this one's rows into it",
        )


def _document(handle: Handle) -> DocumentStore:
    if handle.document is None:
        raise UnsupportedByTable(
            f"{handle.spec.uri} has no description of ours that could differ or change",
            hint="describe it once: Dataset.adopt(uri, spec), or `tierlake adopt URI --spec SPEC.yaml`",
        )
    return handle.document


def _stored(handle: Handle, document: DatasetDocument) -> DatasetSpec:
    # the URI by which it was opened counts, as for `open`
    return document.spec.model_copy(update={"uri": handle.spec.uri})


def _refused(changes: tuple[FieldChange, ...], after: DatasetSpec, snapshot: Snapshot) -> Iterator[RefusedField]:
    declared = {field.name: field for field in storable_schema(declared_schema(after.columns))}
    known = {field.name: field for field in snapshot.schema or ()} if _is_settled(after, snapshot) else {}
    check_names([name for name in declared if name not in known], like=list(known))
    for change in changes:
        section, _, column = change.field.partition(".")
        if section in _NEVER_CHANGES:
            yield RefusedField(field=change.field, reason=_NEVER_CHANGES[section])
        elif section == "columns" and column in known:
            if column not in declared:
                if after.columns and not after.takes_new_columns:
                    reason = f"the table has it ({known[column].type}), and what is declared is frozen"
                    yield RefusedField(field=change.field, reason=f"{reason}; leave `columns` out to declare none")
            elif declared[column].type != known[column].type:
                reason = f"the table has it as {known[column].type}, and its files hold such values"
                yield RefusedField(field=change.field, reason=reason)


def _is_settled(spec: DatasetSpec, snapshot: Snapshot) -> bool:
    """Whether the table has data columns. A new one may have its keys alone, whose types the first rows settle."""
    names = snapshot.schema.names if snapshot.schema is not None else []
    return bool(snapshot.files) or any(name not in spec.partition.columns for name in names)


def _effect(
    handle: Handle, before: DatasetSpec, after: DatasetSpec, as_of: datetime, materialized: Materialized | None
) -> Effect:
    was, will = replace(handle, spec=before), replace(handle, spec=after)
    expiry_before, expiry_after = (plan_expiry(each, as_of, materialized) for each in (was, will))
    tiering_before, tiering_after = (plan_tiering(each, as_of) for each in (was, will))
    monthly = read_catalog(was, as_of).total.monthly_cost
    due_before = {step.key for step in expiry_before.steps}
    due_after = {step.key for step in expiry_after.steps}
    kept_before = {one.key for one in expiry_before.refused}
    return Effect(
        due=tuple(step.key for step in expiry_after.steps if step.key not in due_before),
        due_bytes=sum(step.bytes for step in expiry_after.steps if step.key not in due_before),
        no_longer_due=tuple(step.key for step in expiry_before.steps if step.key not in due_after),
        kept=tuple(one for one in expiry_after.refused if one.key not in kept_before),
        moves=tuple(_changed_moves(tiering_before, tiering_after, leaving=due_after - due_before)),
        monthly=monthly,
        monthly_before=_monthly_after(monthly, expiry_before, tiering_before),
        monthly_after=_monthly_after(monthly, expiry_after, tiering_after),
        one_off_before=tiering_before.one_off,
        one_off_after=tiering_after.one_off,
    )


def _monthly_after(monthly: float | None, expiry: ExpiryPlan, tiering: TieringPlan) -> float | None:
    return None if monthly is None else max(0.0, monthly - expiry.saved_monthly - tiering.saved_monthly)


def _changed_moves(before: TieringPlan, after: TieringPlan, leaving: set[str]) -> Iterator[ChangedMove]:
    """Moves of partitions that do not expire instead."""
    was = {step.key: step.storage_class for step in before.steps}
    will = {step.key: step.storage_class for step in after.steps}
    for key in sorted((was.keys() | will.keys()) - leaving):
        if was.get(key) != will.get(key):
            yield ChangedMove(key=key, before=was.get(key), after=will.get(key))


def _span(keys: list[str] | tuple[str, ...]) -> str:
    return keys[0] if len(keys) == 1 else f"{keys[0]} ... {keys[-1]} ({len(keys):,} partitions)"


# -- applying ---------------------------------------------------------------------------------------------------------


def apply_diff(
    handle: Handle, diff: SpecDiff, *, reason: str = "", run_id: str | None = None
) -> tuple[SpecChange, Handle]:
    """Make a diff's description the stored one.

    Args:
        handle: The dataset that the diff is of.
        diff: What to change.
        reason: Why, for the history.
        run_id: Who did it, for the history.

    Returns:
        What changed, and the dataset under its new description.

    Raises:
        SpecError: A field cannot change, or the diff is of another dataset.
        CommitConflict: Somebody else has changed the description since the diff was made.
    """
    if diff.uri != handle.spec.uri:
        raise SpecError(f"this diff is of {diff.uri}, not of {handle.spec.uri}")
    store = _document(handle)
    store.read().check_in_use(diff.uri)
    diff.check()
    anew = described_anew(handle, diff.after)
    if not diff.changes:
        _check_as_seen(handle, diff, store.read())
        return SpecChange(diff.uri, changed=False), anew
    at = handle.clock.now()
    record = handle.journal.write(
        PolicyRecord(
            id=handle.journal.new_id(at),
            at=at,
            run_id=run_id,
            state="begun",
            operation="apply",
            reason=reason.strip(),
            changes=diff.changes,
        )
    )
    try:
        _check_as_seen(handle, diff, store.read())
        grown = _grown_properties(handle, diff)
        version = handle.table.set_properties(grown, _details(record)) if grown else None
        _declare(handle, diff)
        # under the new write policy: a server that cannot honour it refuses here
        _document(anew).update(lambda document: _changed(handle, diff, document))
    except (CommitConflict, PolicyRefused, SchemaMismatch, SpecError, UnsupportedByServer):
        handle.journal.swap(record, record.model_copy(update={"state": "refused"}))
        raise
    with after_commit("the table's log is kept for longer than the description asks for; the next change mends it"):
        if version is None and (shrunk := _shrunk_properties(handle, diff)):
            version = handle.table.set_properties(shrunk, _details(record))
    with after_commit(f"the journal could not be told that the description is changed (policy-{record.id})"):
        handle.journal.swap(record, record.model_copy(update={"state": "done", "version": version}))
    return SpecChange(diff.uri, changed=True, changes=diff.changes, version=version), anew


def _details(record: PolicyRecord) -> dict[str, object]:
    return {"run_id": record.run_id} if record.run_id is not None else {}


def _check_as_seen(handle: Handle, diff: SpecDiff, document: DatasetDocument) -> None:
    document.check_in_use(diff.uri)
    stored = _stored(handle, document)
    if stored != diff.before:
        since = "; ".join(map(str, differences(diff.before, stored)))
        raise CommitConflict(
            f"the description of {diff.uri} was changed by somebody else since the diff was made: {since}",
            hint="look again: `tierlake diff`, then `tierlake apply`; nothing was changed",
        )


def _changed(handle: Handle, diff: SpecDiff, document: DatasetDocument) -> DatasetDocument:
    _check_as_seen(handle, diff, document)
    return document.model_copy(update={"spec": diff.after})


def _declare(handle: Handle, diff: SpecDiff) -> None:
    """Add newly declared columns to a table that has columns already; they are null in existing rows."""
    snapshot = handle.table.snapshot()
    if snapshot.schema is None or not _is_settled(diff.after, snapshot):
        return
    declared = storable_schema(declared_schema(diff.after.columns))
    new = [field for field in declared if field.name not in snapshot.schema.names]
    if new:
        handle.table.declare(pa.schema([*snapshot.schema, *new]))


def _grown_properties(handle: Handle, diff: SpecDiff) -> dict[str, str]:
    """The table's retention properties that are too short for the new grace."""
    current = handle.table.properties()
    needed = table_properties(diff.after)
    return {
        name: value
        for name, value in needed.items()
        if diff.after.retention.grace > diff.before.retention.grace and _span_of(current.get(name)) < _span_of(value)
    }


def _shrunk_properties(handle: Handle, diff: SpecDiff) -> dict[str, str]:
    """The table's properties to change for a shorter grace; values that others set stay."""
    if diff.after.retention.grace >= diff.before.retention.grace:
        return {}
    current, mirrored = handle.table.properties(), table_properties(diff.before)
    needed = table_properties(diff.after)
    return {name: value for name, value in needed.items() if current.get(name) == mirrored[name] != value}


def _span_of(interval: str | None) -> timedelta:
    """A Delta interval; a zero timedelta where there is none or it cannot be parsed."""
    match = _INTERVAL.fullmatch(interval.strip().lower()) if interval else None
    return timedelta(**{f"{match['unit']}s": int(match["number"])}) if match else timedelta(0)
