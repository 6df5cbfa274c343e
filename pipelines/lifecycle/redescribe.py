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
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pyarrow as pa

from tierlake.connector.errors import UnsupportedByServer
from tierlake.pipelines.errors import CommitConflict, PolicyRefused, SchemaMismatch, SpecError, UnsupportedByTable
from tierlake.pipelines.lifecycle.expiry import plan_expiry
from tierlake.pipelines.lifecycle.spec_change import ChangedMove, Effect, RefusedField, SpecChange, SpecDiff
from tierlake.pipelines.lifecycle.tiering import plan_tiering
from tierlake.pipelines.metastore.opening import check_honoured, described_anew, table_properties
from tierlake.pipelines.metastore.records import PolicyRecord
from tierlake.pipelines.model.partition_types import check_partitioned
from tierlake.pipelines.model.spec import DatasetSpec
from tierlake.pipelines.model.spec_diff import FieldChange, completed, differences
from tierlake.pipelines.model.stored_types import check_names, declared_schema, storable_schema
from tierlake.pipelines.query.catalog import read_catalog
from tierlake.pipelines.runtime.after_commit import after_commit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tierlake.pipelines.lifecycle.outlook import Materialized
    from tierlake.pipelines.lifecycle.plan import ExpiryPlan, TieringPlan
    from tierlake.pipelines.metastore.document import DatasetDocument, DocumentStore
    from tierlake.pipelines.metastore.handle import Handle
    from tierlake.pipelines.tables.snapshot import Snapshot

__all__ = ["Effect", "RefusedField", "SpecChange", "SpecDiff", "apply_diff", "diff_spec"]

_SHOWN = 20
_NEVER_CHANGES = {
    "format": "the files lie as that format has them",
    "partition": "the files lie in folders that it names, and readers and downstream assets go by their keys",
}
_INTERVAL = re.compile(r"interval (?P<number>\d+) (?P<unit>second|minute|hour|day|week)s?")


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
                anew = (
                    f"`tierlake drop {after.uri} --no-undo`, `tierlake vacuum {after.uri}` and `tierlake create` "
                    "make it anew, and nothing of it can come back then"
                )
                holds = "and its files hold such values" if snapshot.files else f"and no row now: {anew}"
                reason = f"the table has it as {known[column].type}, {holds}"
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
