"""Plans: what a policy would do to a dataset, as values that can be printed, priced, saved and applied.

    plan = flights.plan_tiering(as_of="2014-01-01")
    print(plan)                                # a table with what it costs and saves
    plan.apply(progress=True, keys=["date=2013-07-04"])
    Path("plan.json").write_text(plan.to_json())          # later: flights.apply(load_plan(text))

A plan names the files it saw. A partition whose files have changed by the time it is applied is left alone and
reported as stale, and the others go on. So a plan may be old, saved elsewhere or applied twice without harm. How plans
are made and carried out is in `tiering.py` and `expiry.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Generic, Literal, Self, TypeVar

from pydantic import (
    Field,
    PrivateAttr,
    TypeAdapter,
    ValidationError,
)

from tierlake.connector.documents import UnreadableDocument, json_object
from tierlake.connector.observe.edges import reporting
from tierlake.pipelines.errors import SpecError, UnknownPartition
from tierlake.pipelines.lifecycle.plan_text import expirations_text, moves_text, refusals_text
from tierlake.pipelines.lifecycle.planned import Expiration, PlannedFile, PlannedStep, PlanValue, Refusal, TierMove
from tierlake.pipelines.lifecycle.results import ApplyResult, UndoResult
from tierlake.pipelines.model.instant import Instant
from tierlake.pipelines.model.partition_key import PartitionKey
from tierlake.pipelines.runtime import formatting
from tierlake.pipelines.runtime.page import emphasised

if TYPE_CHECKING:
    from tierlake.pipelines.runtime.progress import Progress

__all__ = [
    "ApplyResult",
    "Expiration",
    "ExpiryPlan",
    "Plan",
    "PlannedFile",
    "Refusal",
    "TierMove",
    "TieringPlan",
    "UndoResult",
    "is_plan",
    "load_plan",
]

StepT = TypeVar("StepT", bound=PlannedStep)
Applier = Callable[..., ApplyResult]


class Plan(PlanValue, Generic[StepT]):
    """Fields of all plans.

    Attributes:
        uri: The dataset.
        version: The table's version when the plan was made.
        as_of: The instant at which the policy was evaluated.
        steps: What will be done, in key order.
        refused: What will not be done, though the policy requires it.
        untouched: How many partitions already agree with the policy.
        note: A remark on the figures.
        ageless: Partitions without a window, which no policy reaches, in words; None where there are none.
    """

    kind: str
    uri: str
    version: int
    as_of: Instant
    steps: tuple[StepT, ...] = ()
    refused: tuple[Refusal, ...] = ()
    untouched: int = 0
    note: str | None = None
    ageless: str | None = None

    _apply: Applier | None = PrivateAttr(default=None)

    def __eq__(self, other: object) -> bool:
        """Plans are equal by their content, bound or not."""
        return isinstance(other, Plan) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash((self.kind, self.uri, self.version, self.as_of))

    def bind(self, apply: Applier) -> Self:
        """The plan, able to apply itself.

        Args:
            apply: Takes this plan and the keyword arguments of `apply`.
        """
        bound = self.model_copy()
        bound._apply = apply  # noqa: SLF001 - a copy of ourselves
        return bound

    def to_json(self) -> str:
        """The plan as text, for `from_json` and `load_plan`."""
        return self.model_dump_json(indent=1)

    @classmethod
    @reporting
    def from_json(cls, text: str | bytes) -> Self:
        """Read what `to_json` wrote. The plan has no dataset yet: `Dataset.apply(plan)` gives it one.

        Raises:
            SpecError: It is no plan of this kind.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise _not_a_plan(error) from error

    @reporting
    def check_is_for(self, uri: str) -> None:
        """Refuse to act on another dataset.

        Raises:
            SpecError: The plan was made for another dataset.
        """
        if self.uri != uri:
            raise SpecError(f"this plan is for {self.uri}, not for {uri}")

    @reporting
    def selected(self, keys: Iterable[str | PartitionKey] | None) -> tuple[StepT, ...]:
        """The steps for these partitions; None means all.

        Raises:
            UnknownPartition: Keys without a step in the plan.
        """
        if keys is None:
            return self.steps
        requested = {str(PartitionKey.parse(key) if isinstance(key, str) else key) for key in keys}
        missing = sorted(requested - {step.key for step in self.steps})
        if missing:
            reasons = {refusal.key: refusal.reason for refusal in self.refused}
            names = ", ".join(f"{key} ({reasons[key]})" if key in reasons else key for key in missing)
            raise UnknownPartition(f"the plan has no step for {names}")
        return tuple(step for step in self.steps if step.key in requested)

    def _applied(self, **options: object) -> ApplyResult:
        if self._apply is None:
            raise SpecError(
                f"this plan for {self.uri} was loaded and is not bound to an open dataset",
                hint=f"Dataset.open({self.uri!r}).apply(plan), or `tierlake apply PLAN.json`",
            )
        return self._apply(self, **options)

    def _text(self, kind: str, summary: str, body: str, notes: Sequence[str]) -> str:
        """The plan for people: what it comes to, of what and when, its table, what is left alone, and notes."""
        of = f"{kind} of {self.uri} as of {formatting.day(self.as_of)} (table version {self.version})"
        lines = [emphasised(summary), of, *(["", body] if body else [])]
        if self.refused:
            lines += ["", refusals_text(self.refused)]
        if self.ageless:
            lines += ["", self.ageless]
        lines += notes
        if self.note and self.steps:
            lines += [*([] if notes else [""]), f"prices: {self.note}"]
        return "\n".join(lines)


class TieringPlan(Plan[TierMove]):
    """Partitions to move to the tiers where they belong."""

    kind: Literal["tiering"] = "tiering"

    @property
    def bytes(self) -> int:
        """Bytes that will be moved."""
        return sum(file.size for step in self.steps for file in step.to_move())

    @property
    def saved_monthly(self) -> float:
        """Dollars a month saved in storage, as far as there are prices."""
        return sum((step.monthly_before or 0.0) - (step.monthly_after or 0.0) for step in self.steps)

    @property
    def one_off(self) -> float:
        """Dollars that the moves cost, as far as there are prices."""
        return sum(step.one_off or 0.0 for step in self.steps)

    @property
    def saved(self) -> float:
        """Dollars of storage saved until each partition's next step, as far as there are prices."""
        return sum(step.saved or 0.0 for step in self.steps)

    @reporting
    def apply(
        self,
        *,
        progress: Progress = False,
        keys: Iterable[str | PartitionKey] | None = None,
        dry_run: bool = False,
        run_id: str | None = None,
    ) -> ApplyResult:
        """Move the files. A second call moves only what is left.

        Args:
            progress: True shows a bar; a function is called with each `Step`.
            keys: Only these partitions.
            dry_run: Only make the checks.
            run_id: Who did it, for the history.

        Raises:
            SpecError: The plan was loaded and is not bound to a dataset.
            UnknownPartition: Keys that the plan has no step for.
        """
        return self._applied(progress=progress, keys=keys, dry_run=dry_run, run_id=run_id)

    def __str__(self) -> str:
        if not self.steps:
            belong = "it belongs" if self.untouched == 1 else "they belong"
            summary = f"nothing to move; {formatting.are(self.untouched, 'partition')} where {belong}"
            return self._text("tiering", summary, "", [])
        amount = f"{formatting.partitions(len(self.steps))} to move ({formatting.size(self.bytes)})"
        has_prices = any(step.monthly_before is not None for step in self.steps)
        saves = f": saves {formatting.monthly(self.saved_monthly)}, costs {formatting.dollars(self.one_off)} once"
        return self._text("tiering", amount + (saves if has_prices else ""), moves_text(self.steps), [])


class ExpiryPlan(Plan[Expiration]):
    """Partitions past their retention, to be taken out of the table.

    Attributes:
        grace: How long undo stays possible after it was applied.
    """

    kind: Literal["expiry"] = "expiry"
    grace: timedelta = timedelta(0)

    @property
    def bytes(self) -> int:
        """Bytes that will leave."""
        return sum(step.bytes for step in self.steps)

    @property
    def saved_monthly(self) -> float:
        """Dollars a month saved in storage once the grace is over, as far as there are prices."""
        return sum(step.monthly or 0.0 for step in self.steps)

    @reporting
    def apply(
        self,
        *,
        progress: Progress = False,
        undo: bool = True,
        keys: Iterable[str | PartitionKey] | None = None,
        dry_run: bool = False,
        run_id: str | None = None,
    ) -> ApplyResult:
        """Take the partitions out of the table, in one commit.

        Readers no longer see them. Their files stay until the grace ends and `vacuum` runs.

        Args:
            progress: True shows a bar; a function is called with each `Step`.
            undo: False gives undo up; plain tables in unversioned buckets can only be expired so.
            keys: Only these partitions.
            dry_run: Only make the checks.
            run_id: Who did it, for the history.

        Raises:
            SpecError: The plan was loaded and is not bound to a dataset.
            UnknownPartition: Keys that the plan has no step for.
            PolicyRefused: Undo is requested and impossible here.
        """
        return self._applied(progress=progress, undo=undo, keys=keys, dry_run=dry_run, run_id=run_id)

    def __str__(self) -> str:
        if not self.steps:
            whose = "its" if self.untouched == 1 else "their"
            summary = f"nothing to expire; {formatting.are(self.untouched, 'partition')} not past {whose} retention"
            return self._text("expiry", summary, "", [])
        amount = f"{formatting.partitions(len(self.steps))} to expire ({formatting.size(self.bytes)})"
        has_prices = any(step.monthly is not None for step in self.steps)
        saves = f": saves {formatting.monthly(self.saved_monthly)} once the grace is over"
        after = f"undo is possible for {formatting.age(self.grace)}, then `vacuum` deletes the files"
        notes = ["", after]
        return self._text("expiry", amount + (saves if has_prices else ""), expirations_text(self.steps), notes)


def is_plan(text: str | bytes) -> bool:
    """Whether a text is meant to be a saved plan: a JSON object with a kind, whole or not."""
    try:
        return "kind" in json_object(text)
    except UnreadableDocument:
        return False


@reporting
def load_plan(text: str | bytes) -> TieringPlan | ExpiryPlan:
    """Read a saved plan of either kind.

    Raises:
        SpecError: It is no plan.
    """
    either: TypeAdapter[TieringPlan | ExpiryPlan] = TypeAdapter(
        Annotated[TieringPlan | ExpiryPlan, Field(discriminator="kind")]
    )
    try:
        return either.validate_json(text)
    except ValidationError as error:
        raise _not_a_plan(error) from error


def _not_a_plan(error: ValidationError) -> SpecError:
    fault = error.errors(include_url=False)[0]
    where = ".".join(map(str, fault["loc"]))
    return SpecError(
        f"this is not a saved plan: {where + ': ' if where else ''}{fault['msg']}",
        hint="`tierlake plan tiering DATASET --out PLAN.json` writes one",
    )
