"""tierlake's dataset layer: Hive-partitioned Parquet with a Delta log or plain, ingested, tiered and expired.

from tierlake.pipelines import Dataset, DatasetSpec

`Dataset` and the libraries that move data are imported when it is first asked for, so that specs and definitions load
without them.
"""

from typing import TYPE_CHECKING

from tierlake.pipelines.lifecycle.plan import load_plan
from tierlake.pipelines.model.partition_key import PartitionKey
from tierlake.pipelines.model.selection import Selection
from tierlake.pipelines.model.spec import DatasetSpec

if TYPE_CHECKING:
    from tierlake.pipelines.dataset import Dataset

__all__ = ["Dataset", "DatasetSpec", "PartitionKey", "Selection", "load_plan"]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name != "Dataset":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from tierlake.pipelines.dataset import Dataset

        return Dataset
