"""A dataset and the asset that stands for it in Dagster: one value, from which assets, jobs and sensors are made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import dagster as dg

from tierlake.dagster_project.partitions.keys import KeyNames
from tierlake.pipelines.errors import SpecDiffers

if TYPE_CHECKING:
    from tierlake.dagster_project.resources.lake import LakeResource
    from tierlake.pipelines import Dataset
    from tierlake.pipelines.model.spec import DatasetSpec

__all__ = ["DATASET_TAG", "POOL", "LakeAsset"]

DATASET_TAG: Final = "tierlake/dataset"
"""Tag of jobs and runs: the dataset that they are about."""

POOL: Final = "tierlake"
"""The concurrency pool of all that works on the store; where there are several endpoints, give each its own."""


@dataclass(frozen=True, slots=True)
class LakeAsset:
    """A dataset and the asset that stands for it in Dagster.

    Attributes:
        spec: its description; the URI counts from the resource's warehouse on, whatever it says here.
        partitions_def: the asset's partitions, which are the dataset's, whatever their keys look like.
        pool: the concurrency pool in which its steps take a slot, where the Dagster instance limits it.
        keys: maps partition keys.
    """

    spec: DatasetSpec
    partitions_def: dg.PartitionsDefinition[str]
    pool: str | None = POOL
    keys: KeyNames = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """See that both have the same partitions.

        Raises:
            SpecError: they have not: what to write instead.
        """
        object.__setattr__(self, "keys", KeyNames.of(self.name, self.spec.partition, self.partitions_def))

    @property
    def name(self) -> str:
        """The dataset's path below the warehouse: `flights`, `raw/flights`."""
        return self.spec.root.partition("/")[2]

    @property
    def asset_key(self) -> dg.AssetKey:
        """The asset's key: a segment of the path each."""
        return dg.AssetKey(self.name.split("/"))

    @property
    def identifier(self) -> str:
        """The name as Dagster's jobs and sensors can have it, as Dagster itself writes it: `raw__flights`."""
        return self.asset_key.to_python_identifier()

    def spec_in(self, lake: LakeResource) -> DatasetSpec:
        """The description with its URI in a warehouse."""
        return self.spec.model_copy(update={"uri": lake.uri(self.name)})

    def described_at(self, dataset: Dataset) -> DatasetSpec:
        """The description, for the place where a dataset lies: what should be stored with it."""
        return self.spec.model_copy(update={"uri": dataset.uri})

    def dataset_in(self, lake: LakeResource) -> Dataset:
        """The dataset; where its table is somebody else's and has no description, under the asset's.

        Under the stored description where that differs from the asset's: `upkeep.describe` makes them one.

        Raises:
            TableNotFound: nothing is there yet.
            SpecError: such a table is not as the asset says.
        """
        told_by_the_table = {"uri", "format"}
        said = {name: getattr(self.spec, name) for name in self.spec.model_fields_set - told_by_the_table}
        try:
            return lake.dataset(self.name, said)
        except SpecDiffers:
            return lake.dataset(self.name)
