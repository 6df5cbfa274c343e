"""Plans: what a policy would do to a dataset, as values that can be printed, priced, saved and applied.

    plan = flights.plan_tiering(as_of="2014-01-01")
    print(plan)                                # a table with what it costs and saves
    plan.apply(progress=True, keys=["date=2013-07-04"])
    Path("plan.json").write_text(plan.to_json())          # later: flights.apply(load_plan(text))

A plan names the files it saw. A partition that has other files by the time it is applied is left alone and reported as
stale, the others go on; so a plan may be old, saved elsewhere or applied twice without doing harm. How plans are made
and carried out is in `tiering.py` and `expiry.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Generic, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    TypeAdapter,
    ValidationError,
    field_validator,
)

from tierlake.pipelines.errors import SpecError, UnknownPartition
from tierlake.pipelines.lifecycle.results import ApplyResult, UndoResult
from tierlake.pipelines.model.partition_key import PartitionKey
from tierlake.pipelines.model.spec import Tier
from tierlake.pipelines.runtime import formatting

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

_SHOWN = 20  # rows that print() shows of each table


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class PlannedFile(_Value):
    """A live file as the plan saw it.

    Attributes:
        path: store key below the table's root.
        size: bytes.
        etag: of the stored object; moves carry it as a precondition.
        storage_class: where it was.
    """

    path: str
    size: int
    etag: str
    storage_class: str


class PlannedStep(_Value):
    """What a plan does to one partition.

    Attributes:
        key: the partition, as `ls` prints it.
        files: all its live files when the plan was made.
        rows: their rows; None where the table does not know.
        age: of the partition at `as_of`.
        reason: why, in words.
    """

    key: str
    files: tuple[PlannedFile, ...]
    rows: int | None
    age: timedelta
    reason: str

    @field_validator("key")
    @classmethod
    def _is_a_key(cls, value: str) -> str:
        return str(PartitionKey.parse(value))

    @property
    def bytes(self) -> int:
        """Size of the files."""
        return sum(file.size for file in self.files)


class TierMove(PlannedStep):
    """One partition to another tier.

    Attributes:
        tier: where it belongs.
        storage_class: the class that stands for the tier on this server.
        monthly_before: its storage in dollars a month where it is; None where there is no price.
        monthly_after: the same where it goes.
        one_off: what the move costs.
        saved: what it saves in storage until `until`.
        until: when the policy moves it again or expires it; None counts 12 months.
    """

    tier: Tier
    storage_class: str
    monthly_before: float | None
    monthly_after: float | None
    one_off: float | None
    saved: float | None
    until: datetime | None

    def to_move(self) -> tuple[PlannedFile, ...]:
        """The files that are not there yet."""
        return tuple(file for file in self.files if file.storage_class != self.storage_class)


class Expiration(PlannedStep):
    """One partition out of the table.

    Attributes:
        monthly: its storage in dollars a month; None where there is no price.
    """

    monthly: float | None


class Refusal(_Value):
    """A partition that the policy asks for and that is left alone, and why."""

    key: str
    reason: str


StepT = TypeVar("StepT", bound=PlannedStep)
Applier = Callable[..., ApplyResult]


class Plan(_Value, Generic[StepT]):
    """What all plans have.

    Attributes:
        uri: the dataset.
        version: of its table when the plan was made.
        as_of: the instant that the policy was asked about.
        steps: what will be done, in key order.
        refused: what will not be, though the policy asks for it.
        untouched: how many partitions are as the policy wants them.
        note: what a reader of the figures should know.
        ageless: which partitions no policy reaches, as their values name no window, in words; None: there are none.
    """

    kind: str
    uri: str
    version: int
    as_of: datetime
    steps: tuple[StepT, ...] = ()
    refused: tuple[Refusal, ...] = ()
    untouched: int = 0
    note: str | None = None
    ageless: str | None = None

    _apply: Applier | None = PrivateAttr(default=None)

    def __eq__(self, other: object) -> bool:
        """Plans are equal by what they say, bound or not."""
        return isinstance(other, Plan) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash((self.kind, self.uri, self.version, self.as_of))

    def bind(self, apply: Applier) -> Self:
        """The plan, able to apply itself.

        Args:
            apply: takes this plan and the keyword arguments of `apply`.
        """
        bound = self.model_copy()
        bound._apply = apply  # noqa: SLF001 - a copy of ourselves
        return bound

    def to_json(self) -> str:
        """The plan as text, for `from_json` and `load_plan`."""
        return self.model_dump_json(indent=1)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read what `to_json` wrote. The plan has no dataset yet: `Dataset.apply(plan)` gives it one.

        Raises:
            SpecError: it is no plan of this kind.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise _not_a_plan(error) from error

    def check_is_for(self, uri: str) -> None:
        """Refuse to act on somebody else's data.

        Raises:
            SpecError: the plan was made for another dataset.
        """
        if self.uri != uri:
            raise SpecError(f"this plan is for {self.uri}, not for {uri}")

    def selected(self, keys: Iterable[str | PartitionKey] | None) -> tuple[StepT, ...]:
        """The steps for these partitions; None means all.

        Raises:
            UnknownPartition: keys that the plan does not have a step for.
        """
        if keys is None:
            return self.steps
        wanted = {str(PartitionKey.parse(key) if isinstance(key, str) else key) for key in keys}
        missing = sorted(wanted - {step.key for step in self.steps})
        if missing:
            reasons = {refusal.key: refusal.reason for refusal in self.refused}
            told = ", ".join(f"{key} ({reasons[key]})" if key in reasons else key for key in missing)
            raise UnknownPartition(f"the plan has no step for {told}")
        return tuple(step for step in self.steps if step.key in wanted)

    def _applied(self, **options: object) -> ApplyResult:
        if self._apply is None:
            raise SpecError(
                f"this plan for {self.uri} was loaded and is not bound to an open dataset",
                hint=f"Dataset.open({self.uri!r}).apply(plan), or `tierlake apply PLAN.json`",
            )
        return self._apply(self, **options)

    def _ageless_text(self) -> list[str]:
        return ["", self.ageless] if self.ageless else []

    def _refused_text(self) -> list[str]:
        """What is left alone; partitions with the same reason share a line."""
        if not self.refused:
            return []
        keys: dict[str, list[str]] = {}
        for refusal in self.refused:
            keys.setdefault(refusal.reason, []).append(refusal.key)
        rows = ((_span(same), reason) for reason, same in keys.items())
        return ["", formatting.table_text(["left alone", "why"], rows, limit=_SHOWN)]


def _span(keys: list[str]) -> str:
    return keys[0] if len(keys) == 1 else f"{keys[0]} ... {keys[-1]} ({len(keys):,})"


class TieringPlan(Plan[TierMove]):
    """Partitions to move to the tiers where they belong."""

    kind: Literal["tiering"] = "tiering"

    @property
    def bytes(self) -> int:
        """Bytes that will be moved."""
        return sum(file.size for step in self.steps for file in step.to_move())

    @property
    def saved_monthly(self) -> float:
        """Dollars a month that storage will cost less, as far as there are prices."""
        return sum((step.monthly_before or 0.0) - (step.monthly_after or 0.0) for step in self.steps)

    @property
    def one_off(self) -> float:
        """Dollars that the moves cost, as far as there are prices."""
        return sum(step.one_off or 0.0 for step in self.steps)

    @property
    def saved(self) -> float:
        """Dollars of storage saved, each partition until its next step, as far as there are prices."""
        return sum(step.saved or 0.0 for step in self.steps)

    def apply(
        self,
        *,
        progress: Progress = False,
        keys: Iterable[str | PartitionKey] | None = None,
        dry_run: bool = False,
        run_id: str | None = None,
    ) -> ApplyResult:
        """Move the files. Doing it again moves what is left, and nothing when nothing is.

        Args:
            progress: True shows a bar; a function is called with each `Step`.
            keys: only these partitions.
            dry_run: only make the checks.
            run_id: who did it, for the history.

        Raises:
            SpecError: the plan was loaded and is not bound to a dataset.
            UnknownPartition: keys that the plan has no step for.
        """
        return self._applied(progress=progress, keys=keys, dry_run=dry_run, run_id=run_id)

    def __str__(self) -> str:
        head = f"tiering of {self.uri} as of {formatting.day(self.as_of)} (table version {self.version})"
        if not self.steps:
            body = f"nothing to move; {self.untouched:,} partitions are where they belong"
        else:
            body = formatting.table_text(
                ["key", ">age", ">files", ">size", "from", "to", ">$/month", ">then", ">once",
                 ">saved", "until"],
                (self._row(step) for step in self.steps),
                footer=(
                    f"{len(self.steps):,} partitions",
                    "",
                    formatting.count(sum(len(step.to_move()) for step in self.steps)),
                    formatting.size(self.bytes),
                    "",
                    "",
                    formatting.money(sum(step.monthly_before or 0.0 for step in self.steps)),
                    formatting.money(sum(step.monthly_after or 0.0 for step in self.steps)),
                    formatting.money(self.one_off),
                    formatting.money(self.saved),
                    "",
                ),
                limit=_SHOWN,
            )  # fmt: skip
        notes = ["", f"prices: {self.note}"] if self.note and self.steps else []
        return "\n".join([head, "", body, *self._refused_text(), *self._ageless_text(), *notes])

    @staticmethod
    def _row(step: TierMove) -> tuple[str, ...]:
        moving = step.to_move()
        return (
            step.key,
            formatting.age(step.age),
            formatting.count(len(moving)),
            formatting.size(sum(file.size for file in moving)),
            "+".join(sorted({file.storage_class for file in moving})),
            f"{step.storage_class} ({step.tier})",
            formatting.money(step.monthly_before),
            formatting.money(step.monthly_after),
            formatting.money(step.one_off),
            formatting.money(step.saved),
            formatting.day(step.until) if step.until else "12 months",
        )


class ExpiryPlan(Plan[Expiration]):
    """Partitions past their retention, to be taken out of the table.

    Attributes:
        grace: how long undo stays possible after it was applied.
    """

    kind: Literal["expiry"] = "expiry"
    grace: timedelta = timedelta(0)

    @property
    def bytes(self) -> int:
        """Bytes that will leave."""
        return sum(step.bytes for step in self.steps)

    @property
    def saved_monthly(self) -> float:
        """Dollars a month that storage will cost less once the grace is over, as far as there are prices."""
        return sum(step.monthly or 0.0 for step in self.steps)

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
            keys: only these partitions.
            dry_run: only make the checks.
            run_id: who did it, for the history.

        Raises:
            SpecError: the plan was loaded and is not bound to a dataset.
            UnknownPartition: keys that the plan has no step for.
            PolicyRefused: undo is asked for and impossible here.
        """
        return self._applied(progress=progress, undo=undo, keys=keys, dry_run=dry_run, run_id=run_id)

    def __str__(self) -> str:
        head = f"expiry of {self.uri} as of {formatting.day(self.as_of)} (table version {self.version})"
        if not self.steps:
            body = f"nothing to expire; {self.untouched:,} partitions are not past their retention"
        else:
            body = formatting.table_text(
                ["key", ">age", ">rows", ">files", ">size", ">$/month", "why"],
                (
                    (
                        step.key,
                        formatting.age(step.age),
                        formatting.count(step.rows),
                        formatting.count(len(step.files)),
                        formatting.size(step.bytes),
                        formatting.money(step.monthly),
                        step.reason,
                    )
                    for step in self.steps
                ),
                footer=(
                    f"{len(self.steps):,} partitions",
                    "",
                    "",
                    formatting.count(sum(len(step.files) for step in self.steps)),
                    formatting.size(self.bytes),
                    formatting.money(self.saved_monthly),
                    "",
                ),
                limit=_SHOWN,
            )
        after = f"undo is possible for {formatting.age(self.grace)}, then `vacuum` deletes the files"
        notes = ["", after] if self.steps else []
        notes += [f"prices: {self.note}"] if self.note and self.steps else []
        return "\n".join([head, "", body, *self._refused_text(), *self._ageless_text(), *notes])


def is_plan(text: str | bytes) -> bool:
    """Whether a text is meant to be a saved plan: a JSON object with a kind, whole or not."""
    try:
        document = json.loads(text)
    except ValueError:
        return False
    return isinstance(document, dict) and "kind" in document


def load_plan(text: str | bytes) -> TieringPlan | ExpiryPlan:
    """Read a saved plan of either kind.

    Raises:
        SpecError: it is no plan.
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
