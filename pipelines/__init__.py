"""tierlake's dataset layer: Hive-partitioned Parquet with a Delta log or plain, ingested, tiered and expired.

from tierlake.pipelines import Dataset, DatasetSpec

Each name is imported from its room when it is first asked for, so that specs and definitions load without the libraries
that move data, and the command line without any.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tierlake.pipelines.dataset import Dataset
    from tierlake.pipelines.lifecycle.plan import load_plan
    from tierlake.pipelines.model.partition_key import PartitionKey
    from tierlake.pipelines.model.selection import Selection
    from tierlake.pipelines.model.spec import DatasetSpec

__all__ = ["Dataset", "DatasetSpec", "PartitionKey", "Selection", "load_plan"]

_ROOMS = {
    "Dataset": "dataset",
    "DatasetSpec": "model.spec",
    "PartitionKey": "model.partition_key",
    "Selection": "model.selection",
    "load_plan": "lifecycle.plan",
}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in _ROOMS:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_ROOMS[name]}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
