"""What another description of a dataset would change, and what its application did: values that print."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict, PrivateAttr

from tierlake.connector.observe.edges import reporting
from tierlake.pipelines.errors import PolicyRefused, SpecError
from tierlake.pipelines.lifecycle.plan import Refusal
from tierlake.pipelines.model.spec import DatasetSpec
from tierlake.pipelines.model.spec_diff import FieldChange
from tierlake.pipelines.runtime import formatting
from tierlake.pipelines.runtime.html import Shown
from tierlake.pipelines.runtime.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator


__all__ = ["ChangedMove", "Effect", "RefusedField", "SpecChange", "SpecDiff", "span"]


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
            yield f"become due: {span(self.due)}, {formatting.size(self.due_bytes)}: the next expiry takes them out"
        if self.no_longer_due:
            yield f"no longer due: {span(self.no_longer_due)}"
        reasons: dict[str, list[str]] = {}
        for one in self.kept:
            reasons.setdefault(one.reason, []).append(one.key)
        for reason, keys in reasons.items():
            yield f"come due and stay: {span(keys)}: {reason}"
        moves: dict[tuple[str | None, str | None], list[str]] = {}
        for move in self.moves:
            moves.setdefault((move.before, move.after), []).append(move.key)
        for (before, after), keys in moves.items():
            if after is None:
                yield f"no longer move to {before}: {span(keys)}"
            else:
                yield f"move to {after}{f', not to {before}' if before else ''}: {span(keys)}"
        if not (self.due or self.no_longer_due or self.kept or self.moves):
            yield "no partition comes due or moves by it now"
        money = [formatting.money(each) for each in (self.monthly, self.monthly_before, self.monthly_after)]
        yield f"storage a month: {money[0]} now, {money[1]} after the plans as stored, {money[2]} after the new ones"
        if self.one_off_before or self.one_off_after:
            once = formatting.money(self.one_off_before), formatting.money(self.one_off_after)
            yield f"moves once: {once[0]} as stored, {once[1]} then"


class SpecDiff(Shown, _Value):
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

    @reporting
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

    @reporting
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
        rows = map(_cells, self.changes)
        count = len(self.changes)
        head = f"{self.uri} differs from the description in {count} field{'s' * (count > 1)}"
        parts = [formatting.table_text(["field", "stored", "described"], rows, title=head)]
        parts += [f"{one.field} cannot change: {one.reason}" for one in self.refused]
        if self.effect is not None:
            parts.append("\n".join([f"as of {formatting.day(self.as_of)}", *self.effect.lines()]))
        return "\n\n".join(parts) + dropped

    def _summary(self) -> str:
        count = len(self.changes)
        state = f"differs from the description in {count} field{'s' * (count > 1)}" if count else "is as described"
        refused = f", {len(self.refused)} cannot change" if self.refused else ""
        return f"{self.uri} {state}{refused}" + ("" if self.is_in_use else "; it was dropped")

    def _parts(self) -> tuple[Table[FieldChange] | str, ...]:
        changes = Table(["field", "stored", "described"], self.changes, _cells)
        refused = "\n".join(f"{one.field} cannot change: {one.reason}" for one in self.refused)
        if self.effect is None:
            return changes, refused
        return changes, refused, "\n".join([f"as of {formatting.day(self.as_of)}", *self.effect.lines()])


def _cells(change: FieldChange) -> tuple[str, ...]:
    return change.field, change.before or "-", change.after or "-"


@dataclass(frozen=True, slots=True, repr=False)
class SpecChange(Shown):
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


def span(keys: list[str] | tuple[str, ...]) -> str:
    """Keys in a sentence: the first, the last and their number."""
    return keys[0] if len(keys) == 1 else f"{keys[0]} ... {keys[-1]} ({len(keys):,} partitions)"
