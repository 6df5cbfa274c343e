"""The configuration of a dataset's jobs, which a person fills in at the launchpad, and a sensor in its requests.

Each job has one op, named after it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import dagster as dg
from pydantic import Field

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ExpiryConfig", "RestoreConfig", "TieringConfig", "UndoConfig", "op_config", "op_name", "run_config"]

_AS_OF: Final = "The day by which the policies judge, as 2014-01-01; empty takes the resource's today, else the clock."


_KEYS: Final = (
    "Partitions as Dagster shows them (2013-01-01), ranges (2013-01-01..2013-01-31), patterns (2013-01*), or keys as "
    "`tierlake ls` prints them; beside the one that is selected above. "
)
_DRY_RUN: Final = "True makes all checks, shows what would be done, and changes nothing."


class TieringConfig(dg.Config):
    """What to move to its tier."""

    partitions: list[str] = Field(default=[], description=f"{_KEYS}Empty moves all whose tier has changed.")
    dry_run: bool = Field(default=False, description=_DRY_RUN)
    as_of: str | None = Field(default=None, description=_AS_OF)


class ExpiryConfig(dg.Config):
    """What to expire."""

    partitions: list[str] = Field(
        default=[],
        description=f"{_KEYS}Empty expires all that are due. A named one that is not due stays, and fails the run; a "
        "range or a pattern expires those of its partitions that are due.",
    )
    dry_run: bool = Field(default=False, description=_DRY_RUN)
    unknown: list[str] = Field(
        default=[],
        description="Likewise, keys of the dataset that are no partitions of the asset, as `tierlake ls` prints them.",
    )
    as_of: str | None = Field(default=None, description=_AS_OF)
    undo: bool = Field(default=True, description="False gives undo up: for plain Parquet in unversioned buckets.")


class UndoConfig(dg.Config):
    """What to bring back."""

    partitions: list[str] = Field(default=[], description=f"{_KEYS}A range brings back what has expired in it.")
    partition: str | None = Field(default=None, description="One more partition, beside `partitions`.")
    dry_run: bool = Field(default=False, description=_DRY_RUN)


class RestoreConfig(dg.Config):
    """What to restore."""

    partitions: list[str] = Field(default=[], description=f"{_KEYS}A range requests what is archived in it.")
    days: int = Field(default=1, description="How long the readable copies stay; they cost like hot storage.")
    speed: Literal["bulk", "standard", "expedited"] = Field(
        default="bulk",
        description="bulk is cheapest and takes up to 48 hours, standard up to 12, expedited minutes (GLACIER alone).",
    )
    dry_run: bool = Field(default=False, description=_DRY_RUN)


def op_name(job: str) -> str:
    """The name of a job's op."""
    return f"{job}_op"


def run_config(job: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of a run of a job.

    Args:
        job: Its name.
        config: The fields of its op's configuration.
    """
    return {"ops": {op_name(job): {"config": dict(config)}}}


def op_config(job: str, run_config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields of the op's configuration in a run's; none where a person left them out."""
    config: Mapping[str, Any] = run_config.get("ops", {}).get(op_name(job), {}).get("config", {})
    return config
