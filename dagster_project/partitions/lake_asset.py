"""A dataset and the asset that stands for it in Dagster: one value, from which assets, jobs and sensors are made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import dagster as dg

from tierlake.connector.observe.edges import reporting
from tierlake.dagster_project.partitions.keys import KeyNames
from tierlake.pipelines.errors import SpecDiffers

if TYPE_CHECKING:
    from tierlake.dagster_project.resources.lake import LakeResource
    from tierlake.pipelines import Dataset
    from tierlake.pipelines.model.spec import DatasetSpec

__all__ = ["DATASET_TAG", "POOL", "LakeAsset"]

DATASET_TAG: Final = "tierlake/dataset"
"""Tag of jobs and runs: their dataset."""

POOL: Final = "tierlake"
"""The concurrency pool of all steps that use the store; where there are several endpoints, give each its own."""


@dataclass(frozen=True, slots=True)
class LakeAsset:
    """A dataset and the asset that stands for it in Dagster.

    Attributes:
        spec: Its description; the URI counts from the resource's warehouse on, whatever stands here.
        partitions_def: The asset's partitions, which are the dataset's, whatever their keys look like.
        pool: The concurrency pool in which its steps take a slot, where the Dagster instance limits it.
        keys: Maps partition keys.
    """

    spec: DatasetSpec
    partitions_def: dg.PartitionsDefinition[str]
    pool: str | None = POOL
    keys: KeyNames = field(init=False, repr=False, compare=False)

    @reporting
    def __post_init__(self) -> None:
        """Check that both have the same partitions.

        Raises:
            SpecError: They have not; the hint says what to write instead.
        """
        object.__setattr__(self, "keys", KeyNames.of(self.name, self.spec.partition, self.partitions_def))

    @property
    def name(self) -> str:
        """The dataset's path below the warehouse: `flights`, `raw/flights`."""
        return self.spec.root.partition("/")[2]

    @property
    def asset_key(self) -> dg.AssetKey:
        """The asset's key, a segment for each of the path."""
        return dg.AssetKey(self.name.split("/"))

    @property
    def identifier(self) -> str:
        """The name in the form that Dagster allows for jobs and sensors: `raw__flights`."""
        return self.asset_key.to_python_identifier()

    def definition_name(self, verb: str) -> str:
        """The name of a job or a sensor of the dataset: `raw__flights_expiry`."""
        return f"{self.identifier}_{verb}"

    def spec_in(self, lake: LakeResource) -> DatasetSpec:
        """The description with its URI in a warehouse."""
        return self.spec.model_copy(update={"uri": lake.uri(self.name)})

    def described_at(self, dataset: Dataset) -> DatasetSpec:
        """The description that should be stored with an open dataset: the URI is where that is."""
        return self.spec.model_copy(update={"uri": dataset.uri})

    def dataset_in(self, lake: LakeResource) -> Dataset:
        """Open the dataset: by its stored description, or by the asset's where a foreign table has none.

        Where the stored description differs from the asset's, the stored one counts: `ops.describe` makes them the
        same.

        Raises:
            TableNotFound: Nothing is there yet.
            SpecError: Such a table is not as the asset describes it.
        """
        from_the_table = {"uri", "format"}
        described = {name: getattr(self.spec, name) for name in self.spec.model_fields_set - from_the_table}
        try:
            return lake.dataset(self.name, described)
        except SpecDiffers:
            return lake.dataset(self.name)
