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
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, Self, TypeVar, overload

from pydantic import (
    Field,
    PrivateAttr,
    TypeAdapter,
    ValidationError,
)

from tierlake.connector.documents import UnreadableDocument, json_object
from tierlake.connector.observe.edges import reporting
from tierlake.pipelines.errors import SpecError, UnknownPartition
from tierlake.pipelines.lifecycle.plan_text import ROWS_SHOWN, expirations_table, moves_table, refusals_table
from tierlake.pipelines.lifecycle.planned import Expiration, PlannedFile, PlannedStep, PlanValue, Refusal, TierMove
from tierlake.pipelines.lifecycle.results import ApplyResult, UndoResult
from tierlake.pipelines.model.instant import Instant
from tierlake.pipelines.model.partition_key import PartitionKey
from tierlake.pipelines.query.outcome import Outcome
from tierlake.pipelines.runtime import formatting
from tierlake.pipelines.runtime.columns import Columns
from tierlake.pipelines.runtime.extras import needing
from tierlake.pipelines.runtime.html import Shown
from tierlake.pipelines.runtime.page import emphasised

if TYPE_CHECKING:
    import pyarrow as pa
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tierlake.pipelines.runtime.charts import Panel
    from tierlake.pipelines.runtime.progress import Progress
    from tierlake.pipelines.runtime.table import Table

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


class Plan(Shown, Columns, PlanValue, Generic[StepT]):
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

    @overload
    def plot(self, panel: Panel | None = None) -> Figure: ...
    @overload
    def plot(self, panel: Panel | None = None, *, ax: Axes) -> Axes: ...
    @reporting
    def plot(self, panel: Panel | None = None, *, ax: Axes | None = None) -> Figure | Axes:
        """Draw the partitions with a step: bytes by class now and then, their ages, and dollars a month now and then.

        Args:
            panel: `tiers`, `ages` or `money`; all three by default, and with `ax` the first.
            ax: Axes of yours to draw one panel into.

        Returns:
            The figure, which is in no list of pyplot's; with `ax` these axes.

        Raises:
            PackageMissing: matplotlib is not installed.
            SpecError: There is no such panel.
        """
        with needing("matplotlib", f"{type(self).__name__}.plot()", extra="plot"):
            from tierlake.pipelines.lifecycle.plan_plot import plot_steps

        return plot_steps(self.steps, panel, ax)

    def _text(self, summary: str, body: Table[Any], notes: Sequence[str] = ()) -> str:
        """The plan for people: what it comes to, of what and when, its table, what is left alone, and notes."""
        of = f"{self.kind} of {self.uri} as of {formatting.day(self.as_of)} (table version {self.version})"
        lines = [emphasised(summary), of, *(["", body.text(ROWS_SHOWN)] if self.steps else [])]
        if self.refused:
            lines += ["", refusals_table(self.refused).text(ROWS_SHOWN)]
        if self.ageless:
            lines += ["", self.ageless]
        lines += notes
        if self.note and self.steps:
            lines += [*([] if notes else [""]), f"prices: {self.note}"]
        return "\n".join(lines)

    def _headline(self, verb: str, facts: Sequence[str]) -> str:
        if not self.steps:
            count = f"nothing to {verb}, {formatting.partitions(self.untouched)} untouched"
        else:
            count = f"{formatting.partitions(len(self.steps))} to {verb} ({', '.join(facts)})"
        refused = f", {len(self.refused):,} left alone" if self.refused else ""
        return f"{self.kind} of {self.uri} as of {formatting.day(self.as_of)}: {count}{refused}"

    def _remarks(self, table: Table[Any], *notes: str) -> tuple[Table[Any] | str, ...]:
        """What a notebook shows below the headline."""
        prices = f"prices: {self.note}" if self.note and self.steps else ""
        return (table, refusals_table(self.refused), self.ageless or "", *(notes if self.steps else ()), prices)


class TieringPlan(Plan[TierMove]):
    """Partitions to move to the tiers where they belong."""

    kind: Literal["tiering"] = "tiering"

    @property
    def bytes(self) -> int:
        """Bytes that will be moved."""
        return sum([file.size for step in self.steps for file in step.to_move()])

    @property
    def saved_monthly(self) -> float:
        """Dollars a month saved in storage, as far as there are prices."""
        return sum([(step.monthly_before or 0.0) - (step.monthly_after or 0.0) for step in self.steps])

    @property
    def one_off(self) -> float:
        """Dollars that the moves cost, as far as there are prices."""
        return sum([step.one_off or 0.0 for step in self.steps])

    @property
    def saved(self) -> float:
        """Dollars of storage saved until each partition's next step, as far as there are prices."""
        return sum([step.saved or 0.0 for step in self.steps])

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

    def outcomes(self) -> dict[str, Outcome]:
        """What becomes of each partition with a step, by its key; `Catalog.plot` draws the bill with it."""
        return {
            step.key: Outcome(
                step.tier,
                None
                if step.monthly_before is None or step.monthly_after is None
                else step.monthly_before - step.monthly_after,
            )
            for step in self.steps
        }

    def to_arrow(self) -> pa.Table:
        """The steps as columns: files and bytes are those that move, `storage_class_before` is where these are now."""
        from tierlake.pipelines.lifecycle.plan_columns import moves_columns

        return moves_columns(self.steps)

    def __str__(self) -> str:
        if not self.steps:
            belong = "it belongs" if self.untouched == 1 else "they belong"
            summary = f"nothing to move; {formatting.are(self.untouched, 'partition')} where {belong}"
            return self._text(summary, moves_table(()))
        amount = f"{formatting.partitions(len(self.steps))} to move ({formatting.size(self.bytes)})"
        has_prices = any(step.monthly_before is not None for step in self.steps)
        saves = f": saves {formatting.monthly(self.saved_monthly)}, costs {formatting.dollars(self.one_off)} once"
        return self._text(amount + (saves if has_prices else ""), moves_table(self.steps))

    def _summary(self) -> str:
        facts = [formatting.size(self.bytes)]
        if any(step.saved is not None for step in self.steps):
            facts += [f"saves {formatting.money(self.saved_monthly)} a month for {formatting.money(self.one_off)} once"]
        return self._headline("move", facts)

    def _parts(self) -> tuple[Table[Any] | str, ...]:
        return self._remarks(moves_table(self.steps))


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
        return sum([step.bytes for step in self.steps])

    @property
    def saved_monthly(self) -> float:
        """Dollars a month saved in storage once the grace is over, as far as there are prices."""
        return sum([step.monthly or 0.0 for step in self.steps])

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

    def outcomes(self) -> dict[str, Outcome]:
        """What becomes of each partition with a step, by its key; `Catalog.plot` draws the bill with it."""
        return {step.key: Outcome(None, step.monthly) for step in self.steps}

    def to_arrow(self) -> pa.Table:
        """The steps as columns."""
        from tierlake.pipelines.lifecycle.plan_columns import expirations_columns

        return expirations_columns(self.steps)

    def __str__(self) -> str:
        if not self.steps:
            whose = "its" if self.untouched == 1 else "their"
            summary = f"nothing to expire; {formatting.are(self.untouched, 'partition')} not past {whose} retention"
            return self._text(summary, expirations_table(()))
        amount = f"{formatting.partitions(len(self.steps))} to expire ({formatting.size(self.bytes)})"
        has_prices = any(step.monthly is not None for step in self.steps)
        saves = f": saves {formatting.monthly(self.saved_monthly)} once the grace is over"
        summary = amount + (saves if has_prices else "")
        return self._text(summary, expirations_table(self.steps), ["", self._after()])

    def _summary(self) -> str:
        facts = [formatting.size(self.bytes)]
        if any(step.monthly is not None for step in self.steps):
            facts += [f"saves {formatting.money(self.saved_monthly)} a month"]
        return self._headline("expire", facts)

    def _parts(self) -> tuple[Table[Any] | str, ...]:
        return self._remarks(expirations_table(self.steps), self._after())

    def _after(self) -> str:
        return f"undo is possible for {formatting.age(self.grace)}, then `vacuum` deletes the files"


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
