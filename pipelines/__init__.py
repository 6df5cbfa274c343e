"""tierlake's dataset layer: Hive-partitioned Parquet with a Delta log or plain, ingested, tiered and expired.

from pipelines import Dataset, DatasetSpec
"""

from pipelines.dataset import Dataset
from pipelines.layout import PartitionKey
from pipelines.plan import load_plan
from pipelines.spec import DatasetSpec

__all__ = ["Dataset", "DatasetSpec", "PartitionKey", "load_plan"]
