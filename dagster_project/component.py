"""`LakeDataset`: everything that Dagster needs for one dataset, from a YAML file.

    type: tierlake.LakeDataset
    attributes:
      key: flights
      source: my_project.flights.read       # leave it out where somebody else writes the data
      start: "2013-01-01"
      partition: {time: {column: time_hour, every: day, timezone: America/New_York}}
      tiers: [{after: 30d, tier: warm}, {after: 90d, tier: cold}]
      retention: {expire_after: 300d, grace: 7d, after: [monthly_summary]}

`dg scaffold defs tierlake.LakeDataset flights` writes one with a comment for each field, a source with sample rows, and
the resources where the project has none: it can be materialized at once. In Python, `LakeDataset(key="flights", ...)`
takes the same attributes, and `definitions()` makes the same: the demo is made so.
"""

import functools
import inspect
from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal, TypeAlias

import dagster as dg
from pydantic import Field

from tierlake.connector.observe.edges import reporting
from tierlake.dagster_project.automation.alerts import alert_on_failure
from tierlake.dagster_project.automation.definitions import Automation, dataset_definitions, links_to_jobs
from tierlake.dagster_project.automation.schedules import EVERY_MORNING
from tierlake.dagster_project.dagster_internals import explain_missing_resources
from tierlake.dagster_project.io.dataset_assets import adopted_asset, external_asset, import_source, source_asset
from tierlake.dagster_project.io.previews import MOST_ROWS
from tierlake.dagster_project.partitions.keys import time_windows
from tierlake.dagster_project.partitions.lake_asset import POOL, LakeAsset
from tierlake.dagster_project.partitions.metadata import PREVIEW_ROWS
from tierlake.dagster_project.scaffold.scaffolder import LakeDatasetScaffolder
from tierlake.pipelines.errors import SpecError
from tierlake.pipelines.model.spec import (
    DatasetSpec,
    PartitionSpec,
    RejectSpec,
    RetentionSpec,
    TierStep,
    WriteSpec,
)
from tierlake.pipelines.model.text_options import TextOptions

__all__ = ["DYNAMIC", "LakeDataset", "LakeDatasetScaffolder"]

DYNAMIC: Final = "dynamic"
"""Instead of a list of values: they are added as they come (the partitions definition `<asset>_<column>`)."""

_ASSET_ATTRIBUTES: Final = ("deps", "description", "group_name", "owners", "tags")
_WRITER_ATTRIBUTES: Final = ("io_manager", "partitions_per_run")

Status: TypeAlias = Literal["stopped", "running"]

_MISSING: Final = """\
{asset} needs the resource{plural} {names}, and this code location does not provide {pronoun}.
Write in a module below defs/, or in the Definitions of your own:

    from tierlake import LakeParquetIOManager, LakeResource

    lake = LakeResource()  # LakeResource(embedded_server="/path/.lake") for a server on this machine

    @dg.definitions
    def resources():
        return dg.Definitions(resources={{"lake": lake, "{io_manager}": LakeParquetIOManager(lake=lake)}})

`dg scaffold defs tierlake.LakeDataset NAME` writes such a module where a project has none."""


_LAKE: Final = "lake"


def _documentation(source: Any) -> str | None:
    """The docstring of a function, of what a partial function was made of, or of an object's class."""
    while isinstance(source, functools.partial):
        source = source.func
    return inspect.getdoc(source)


def _unparsed(context: dg.ResolutionContext, value: Any) -> Any:
    """The value in the YAML file, or of a template in its place."""
    return context.resolve_value(value) if isinstance(value, str) else value


@dg.scaffold_with(LakeDatasetScaffolder)
class LakeDataset(dg.Component, dg.Model, dg.Resolvable):
    """One dataset behind lake://: its asset, checks, jobs, tiering schedule and sensor.

    The file is the desired state: where it differs from the description that is stored with the dataset, the check
    `described_as_stored` shows how, and the next run of one of its jobs, or the policy job, changes the stored one.

    The project provides a `LakeResource` as the resource `lake`, and, for datasets with a source function, a
    `LakeParquetIOManager` as `lake_io_manager`.
    """

    key: str = Field(description="The asset's key, and the dataset's path below the warehouse: flights, raw/flights.")
    start: str | int = Field(description="Key of the first partition: 2013-01-01 for days, 2013-01 for months, 2013.")
    end: str | int | None = Field(
        default=None, description="Key of the first one left out; without it they go on for ever."
    )
    source: str | None = Field(
        default=None,
        description="A function, as my_project.flights.read: takes the asset's context, returns a table, a frame or a "
        "path, or yields several of them. "
        "Or an asset of your own with this key and these partitions, which then has its own description, owners and "
        "IO manager. Without it somebody else writes the data, and a sensor reports what is there.",
    )
    format: Literal["delta", "parquet"] = "delta"
    partition: Annotated[
        Any,
        dg.Resolver(
            _unparsed, model_field_type=PartitionSpec, description="By time, and by at most one other column as well."
        ),
    ]
    values: dict[str, list[str] | Literal["dynamic"]] = Field(
        default_factory=dict, description="For the column in partition.by: its values, or `dynamic`."
    )
    columns: dict[str, str] = Field(default_factory=dict, description="Column to type, where they are to be declared.")
    evolution: Literal["add", "freeze"] | None = Field(
        default=None, description="Whether a write may add columns; without it declared ones are frozen, others grow."
    )
    text: Annotated[
        Any,
        dg.Resolver(_unparsed, model_field_type=TextOptions, description="How a source's text files are written."),
    ] = TextOptions()
    write: Annotated[
        Any, dg.Resolver(_unparsed, model_field_type=WriteSpec, description="Encryption, class, compression, sizes.")
    ] = WriteSpec()
    tiers: Annotated[
        Any,
        dg.Resolver(
            _unparsed, model_field_type=tuple[TierStep, ...], description="From which age on partitions belong where."
        ),
    ] = ()
    retention: Annotated[
        Any,
        dg.Resolver(
            _unparsed,
            model_field_type=RetentionSpec,
            description="When partitions leave, and which assets must have seen them before.",
        ),
    ] = RetentionSpec()
    rejects: Annotated[
        Any, dg.Resolver(_unparsed, model_field_type=RejectSpec, description="How many bad rows an ingest tolerates.")
    ] = RejectSpec()
    restores: bool | None = Field(
        default=None,
        description="Whether there are archived partitions to request and to wait for; without it, as the tiers say.",
    )
    tiering_cron: str = Field(
        default=EVERY_MORNING, description="When the tiering job runs, in the dataset's timezone."
    )
    sensor_status: Status = Field(
        default="stopped",
        description="Whether the sensors are on from the start: stopped, until somebody switches them on in the UI, or "
        "running. While the sensor is off nothing expires by itself, and no other writer's change is seen.",
    )
    schedule_status: Status = Field(
        default="stopped", description="Likewise, for the schedule by which partitions move to their tiers."
    )
    io_manager: str = Field(default="lake_io_manager", description="Resource key of the LakeParquetIOManager.")
    pool: str | None = Field(
        default=POOL,
        description="The concurrency pool of its steps: one an endpoint, so that its limit is the store's.",
    )
    alert: str | None = Field(
        default=None, description="Resource key of what hears of failed steps, such as an `alerts.Webhook`."
    )
    partitions_per_run: int | None = Field(
        default=None,
        ge=1,
        description="Of a backfill, each run being one commit; without it one run does them all. Where partitions are "
        "not windows of time alone, each is a run of its own, and this cannot be set.",
    )
    preview_rows: int | None = Field(
        default=None,
        ge=0,
        le=MOST_ROWS,
        description="Rows of a run that Dagster shows, 0 for none; its database keeps them, whatever expires or is "
        "erased. Without it, as the IO manager says.",
    )
    deps: list[str] = Field(default_factory=list, description="Keys of assets that the source reads.")
    description: str | None = Field(default=None, description="The asset's; without it, the source's docstring.")
    group_name: str | None = None
    owners: list[str] = Field(default_factory=list)
    tags: dict[str, str] = Field(default_factory=dict)

    @reporting
    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:  # noqa: ARG002 - Dagster's signature
        """Make the definitions, as Dagster calls it."""
        return self.definitions()

    def definitions(self) -> dg.Definitions:
        """Make the definitions.

        Raises:
            SpecError: The attributes contradict each other, or there is no such source.
        """
        asset = self.lake_asset()
        hooks = frozenset({alert_on_failure(self.alert)} if self.alert else ())
        automation = Automation(
            is_written_here=self.source is not None,
            restores=self.restores,
            tiering_cron=self.tiering_cron,
            hooks=hooks,
            sensor_status=dg.DefaultSensorStatus[self.sensor_status.upper()],
            schedule_status=dg.DefaultScheduleStatus[self.schedule_status.upper()],
        )
        metadata = links_to_jobs(asset, automation)
        if self.preview_rows is not None:
            metadata[PREVIEW_ROWS] = self.preview_rows
        written = dg.Definitions(assets=[self._asset(asset, metadata, hooks)])
        automated = dataset_definitions(asset, automation)
        required = {_LAKE, self.io_manager} if self._is_stored_by_us(written) else {_LAKE}
        explain_missing_resources(automated.jobs or (), required, self._missing)
        return dg.Definitions.merge(written, automated)

    def _missing(self, names: Iterable[str]) -> str:
        missing = [f"`{name}`" for name in sorted(names)]
        plural, pronoun = ("s", "them") if len(missing) > 1 else ("", "it")
        return _MISSING.format(
            asset=self.key, plural=plural, pronoun=pronoun, names=" and ".join(missing), io_manager=self.io_manager
        )

    def _is_stored_by_us(self, written: dg.Definitions) -> bool:
        """Whether the asset is made of a source function: then our IO manager stores it."""
        return any(
            isinstance(asset, dg.AssetsDefinition) and self.io_manager in asset.required_resource_keys
            for asset in written.assets or ()
        )

    def lake_asset(self) -> LakeAsset:
        """The dataset and its asset.

        Raises:
            SpecError: The attributes contradict each other.
        """
        spec = DatasetSpec(
            uri=f"lake://warehouse/{self.key}",
            format=self.format,
            partition=self.partition,
            columns=self.columns,
            evolution=self.evolution,
            text=self.text,
            write=self.write,
            tiers=self.tiers,
            retention=self.retention,
            rejects=self.rejects,
        )
        return LakeAsset(spec, self._partitions_def(spec), self.pool)

    def _asset(
        self, asset: LakeAsset, metadata: dict[str, Any], hooks: frozenset[dg.HookDefinition]
    ) -> dg.AssetsDefinition | dg.AssetSpec:
        attributes = {name: getattr(self, name) for name in _ASSET_ATTRIBUTES}
        attributes["deps"] = [dg.AssetKey(key.split("/")) for key in self.deps]
        if self.source is None:
            return external_asset(asset, attributes, metadata)
        source = import_source(self.source)
        if not isinstance(source, dg.AssetsDefinition):
            attributes["description"] = self.description or _documentation(source)
            return source_asset(
                asset,
                source,
                attributes,
                metadata,
                io_manager=self.io_manager,
                partitions_per_run=self.partitions_per_run,
                hooks=hooks,
            )
        if given := sorted(self.model_fields_set & {*_ASSET_ATTRIBUTES, *_WRITER_ATTRIBUTES}):
            names = ", ".join(given)
            raise SpecError(f"{self.key}: the source is an asset, which has its own {names}", hint=f"set {names} there")
        return adopted_asset(asset, source, metadata, hooks)

    def _partitions_def(self, spec: DatasetSpec) -> dg.PartitionsDefinition[str]:
        time, columns = spec.partition.time, spec.partition.columns
        if time is None:
            raise SpecError(
                f"{self.key} is not partitioned by time", hint="partition: {time: {column: ..., every: day}}"
            )
        windows = time_windows(time.every, time.timezone, str(self.start), None if self.end is None else str(self.end))
        others = [column for column in columns if column != time.key]
        if sorted(self.values) != sorted(others):
            hint = f"values: {{{others[0]}: [...]}}, or dynamic" if others else "leave `values` out"
            raise SpecError(f"{self.key}: `values` names {sorted(self.values)}, partition.by {others}", hint=hint)
        if not others:
            return windows
        if len(others) > 1:
            raise SpecError(f"{self.key} has {len(columns)} partition columns; Dagster knows at most two dimensions")
        values = self.values[others[0]]
        other: dg.PartitionsDefinition[str]
        if values == DYNAMIC:
            other = dg.DynamicPartitionsDefinition(name=f"{self.key.replace('/', '__')}_{others[0]}")
        else:
            other = dg.StaticPartitionsDefinition(list(values))
        return dg.MultiPartitionsDefinition({time.key: windows, others[0]: other})
