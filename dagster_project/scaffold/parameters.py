"""What `dg scaffold` may be asked for: `--source`, `--every`, `--start` and the like, or `--json-params`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from tierlake.pipelines.model.spec import TimePartition
from tierlake.pipelines.model.time_window import KEY_FORMATS, Every

__all__ = ["NO_SOURCE", "ScaffoldParameters"]

NO_SOURCE: Final = "none"

_KEYS: Final[dict[Every, str]] = {"hour": "hour", "day": "date", "month": "month", "year": "year"}


class ScaffoldParameters(BaseModel):
    """Parameters of the scaffold; each has a default that works at once."""

    model_config = ConfigDict(extra="forbid")

    key: str | None = Field(default=None, description="The asset's key: raw/flights. Default: the folder's name.")
    source: str | None = Field(
        default=None,
        description="Full name of your function or asset; `none` where somebody else writes the data. Default: a "
        "source.py with sample rows is written.",
    )
    every: Every = Field(default="day", description="hour, day, month or year.")
    column: str = Field(default="at", description="The timestamp or date column of your rows.")
    timezone: str = Field(default="UTC", description="By whose clock days begin: America/New_York.")
    start: str | None = Field(default=None, description="Key of the first partition. Default: last year's first.")
    table_format: Literal["delta", "parquet"] = Field(default="delta", description="delta or parquet.")
    resources: bool = Field(default=True, description="Write the resources where the project has none.")

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        return TimePartition(timezone=value).timezone

    def time(self) -> dict[str, Any]:
        """The field `partition.time`."""
        return {"column": self.column, "every": self.every, "timezone": self.timezone, "key": _KEYS[self.every]}

    def first_key(self, now: datetime | None = None) -> str:
        """The key of the first partition: of last year, or of this month for hours.

        Args:
            now: The time; the clock's if not given.
        """
        if self.start:
            return self.start
        now = now or datetime.now(UTC)
        first = now.replace(day=1) if self.every == "hour" else now.replace(year=now.year - 1, month=1, day=1)
        return self._key(first)

    def last_key(self) -> str:
        """An example of a key that is far away."""
        return self._key(datetime(2100, 1, 1, tzinfo=UTC))

    def _key(self, moment: datetime) -> str:
        return moment.replace(hour=0).strftime(KEY_FORMATS[self.every])
