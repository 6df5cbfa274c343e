"""What the story reads from the lake: as any reader of Parquet would, and as its plans and catalogs have it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import fsspec

from tierlake.dagster_project.demo.stage import BUCKET, DemoFailed
from tierlake.pipelines.runtime import formatting

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from tierlake.pipelines import Dataset
    from tierlake.pipelines.lifecycle.plan import TieringPlan, TierMove

__all__ = ["PANDAS", "rows_seen", "tier_table", "wait_for_classes", "with_pandas"]

PANDAS: Final = """\
pd.read_parquet(
    "lake://warehouse/flights",
    filters=[("date", "==", "2013-07-04")],
    columns=["origin", "dep_delay"],
).groupby("origin")["dep_delay"].agg(["size", "mean"])"""

_SCANNER_SECONDS: Final = 120  # MinIO's scanner moves what is tagged within about a minute


def with_pandas() -> pd.DataFrame:
    """The result of `PANDAS`."""
    import pandas as pd

    result: pd.DataFrame = eval(PANDAS, {"pd": pd})  # noqa: S307 - our own constant: what is printed is what runs
    return result


def rows_seen() -> int:
    """How many flights pyarrow counts."""
    import pyarrow.dataset as pads

    dataset = pads.dataset(f"{BUCKET}/flights", filesystem=fsspec.filesystem("lake"), partitioning="hive")
    return int(dataset.count_rows())


def wait_for_classes(dataset: Dataset, expected: Mapping[str, str]) -> None:
    """Wait until the server has moved all partitions.

    Args:
        dataset: The dataset.
        expected: The storage class of each partition that moves.

    Raises:
        DemoFailed: It takes longer than it should.
    """
    deadline = time.monotonic() + _SCANNER_SECONDS
    while any(expected.get(str(part.key), part.storage_class) != part.storage_class for part in dataset.partitions()):
        if time.monotonic() > deadline:
            raise DemoFailed(f"the server's scanner has not moved all files within {_SCANNER_SECONDS} seconds")
        time.sleep(1)


def tier_table(plan: TieringPlan, scale: float) -> str:
    """A plan's moves, summed up by tier.

    Args:
        plan: The plan.
        scale: What the money is multiplied by: the demo's data are too small for it to mean anything.
    """
    steps: dict[tuple[str, str], list[TierMove]] = {}
    for step in plan.steps:
        steps.setdefault((step.tier, step.storage_class), []).append(step)
    rows = (
        (
            tier,
            storage_class,
            formatting.count(len(group)),
            formatting.size(sum(step.bytes for step in group)),
            formatting.money(sum(step.monthly_before or 0.0 for step in group) * scale),
            formatting.money(sum(step.monthly_after or 0.0 for step in group) * scale),
        )
        for (tier, storage_class), group in sorted(steps.items(), reverse=True)
    )
    return formatting.table_text(["to tier", "class", ">partitions", ">size", ">$/month at 10 TB", ">then"], rows)
