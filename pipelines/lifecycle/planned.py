"""What plans are made of: files as they were seen, what is to happen to each partition, and what is refused."""

from __future__ import annotations

from datetime import timedelta
from typing import Self

from pydantic import BaseModel, ConfigDict, field_validator

from tierlake.pipelines.model.instant import Instant
from tierlake.pipelines.model.partition_key import PartitionKey
from tierlake.pipelines.model.spec import Tier
from tierlake.pipelines.runtime import formatting

__all__ = ["Expiration", "PlannedFile", "PlannedStep", "Refusal", "TierMove"]


class PlanValue(BaseModel):
    """A part of a plan. Unknown fields, from a later version, are ignored on load."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    @classmethod
    def of(cls, **values: object) -> Self:
        """A value of our own, all of whose fields are given in their types: nothing is validated.

        A plan of 50,000 steps is made in half the time.
        """
        made = cls.__new__(cls)
        put = object.__setattr__
        put(made, "__dict__", values)
        put(made, "__pydantic_fields_set__", set(values))
        put(made, "__pydantic_extra__", None)
        put(made, "__pydantic_private__", None)
        return made


class PlannedFile(PlanValue):
    """A live file as the plan saw it.

    Attributes:
        path: Store key below the table's root.
        size: Bytes.
        etag: Of the stored object; moves carry it as a precondition.
        storage_class: Where it was.
    """

    path: str
    size: int
    etag: str
    storage_class: str


class PlannedStep(PlanValue):
    """What a plan does to one partition.

    Attributes:
        key: The partition, as `ls` prints it.
        files: All its live files when the plan was made.
        rows: Their rows; None where the table does not know.
        age: Of the partition at `as_of`.
        reason: Why, in words.
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

    def __repr__(self) -> str:
        """The step in a line, without its files."""
        amount = f"{formatting.files(len(self.files))}, {formatting.size(self.bytes)}"
        return f"<{type(self).__name__} of {self.key or '(all)'}: {amount}; {self.reason}>"

    @property
    def bytes(self) -> int:
        """Size of the files."""
        return sum(file.size for file in self.files)


class TierMove(PlannedStep):
    """One partition to another tier.

    Attributes:
        tier: Where it belongs.
        storage_class: The class that stands for the tier on this server.
        monthly_before: Its storage in dollars a month where it is; None where there is no price.
        monthly_after: The same in the new tier.
        one_off: What the move costs.
        saved: Dollars that it saves in storage until `until`.
        until: When the policy moves it again or expires it; None counts 12 months.
    """

    tier: Tier
    storage_class: str
    monthly_before: float | None
    monthly_after: float | None
    one_off: float | None
    saved: float | None
    until: Instant | None

    def to_move(self) -> tuple[PlannedFile, ...]:
        """The files that are not in that class yet."""
        return tuple([file for file in self.files if file.storage_class != self.storage_class])


class Expiration(PlannedStep):
    """One partition out of the table.

    Attributes:
        monthly: Its storage in dollars a month; None where there is no price.
    """

    monthly: float | None


class Refusal(PlanValue):
    """A partition that the policy applies to and that is left alone, with the reason."""

    key: str
    reason: str
