"""`LakeDataset`: everything that Dagster needs for one dataset, from a YAML file.

    type: tierlake.dagster_project.component.LakeDataset
    attributes:
      key: flights
      source: my_project.flights.read       # leave it out where somebody else writes the data
      start: "2013-01-01"
      partition: {time: {column: time_hour, every: day, timezone: America/New_York}}
      tiers: [{after: 30d, tier: warm}, {after: 90d, tier: cold}]
      retention: {expire_after: 300d, grace: 7d, after: [monthly_summary]}

`dg scaffold defs tierlake.dagster_project.component.LakeDataset flights` writes one to begin with.
"""

import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Annotated, Any, Final, Literal

import dagster as dg
from pydantic import Field

from tierlake.dagster_project.automation.alerts import alert_on_failure
from tierlake.dagster_project.automation.checks import description_check, verify_check
from tierlake.dagster_project.automation.jobs import expiry_job, policy_job, restore_job, tiering_job, undo_job
from tierlake.dagster_project.automation.observe import observation_sensor
from tierlake.dagster_project.automation.restores import restore_sensor
from tierlake.dagster_project.automation.sensors import ExpiryJob, reconciliation_sensor, retention_sensor
from tierlake.dagster_project.partitions.keys import time_windows
from tierlake.dagster_project.partitions.lake_asset import DATASET_TAG, POOL, LakeAsset
from tierlake.dagster_project.partitions.metadata import spec_metadata
from tierlake.dagster_project.resources.failures import tell_dagster
from tierlake.pipelines.errors import SpecError
from tierlake.pipelines.model.spec import DatasetSpec, PartitionSpec, RejectSpec, RetentionSpec, TierStep, WriteSpec
from tierlake.pipelines.model.text_options import TextOptions

__all__ = ["DYNAMIC", "LakeDataset", "LakeDatasetScaffolder"]

DYNAMIC: Final = "dynamic"
"""Instead of a list of values: they are added as they come (the partitions definition `<asset>_<column>`)."""


def _as_said(context: dg.ResolutionContext, value: Any) -> Any:
    """The value in the YAML file, or what a template in its place stands for."""
    return context.resolve_value(value) if isinstance(value, str) else value


class LakeDatasetScaffolder(dg.Scaffolder[Any]):
    """Writes a `defs.yaml` for a dataset that somebody else writes; a `source` makes it one of our own."""

    def scaffold(self, request: dg.ScaffoldRequest[Any]) -> None:
        """Write it.

        Args:
            request: where to, in which format.
        """
        dg.scaffold_component(
            request,
            {
                "key": request.target_path.name,
                "start": "2024-01-01",
                "partition": {"time": {"every": "day", "timezone": "UTC", "key": "date"}},
                "tiers": [{"after": "30d", "tier": "warm"}],
                "retention": {"expire_after": "365d", "grace": "7d"},
            },
        )


@dg.scaffold_with(LakeDatasetScaffolder)
class LakeDataset(dg.Component, dg.Model, dg.Resolvable):
    """One dataset behind lake://: its asset, checks, jobs, tiering schedule and retention sensor.

    The file is the desired state: where it differs from what is stored with the dataset, the check
    `described_as_stored` says so, and the next run of one of its jobs, or the policy job, changes what is stored.

    The project provides a `LakeResource` as the resource `lake`, and, for datasets with a source, a
    `LakeParquetIOManager` as `lake_io_manager`.
    """

    key: str = Field(description="The asset's key, and the dataset's path below the warehouse: flights, raw/flights.")
    start: str | int = Field(description="Key of the first partition: 2013-01-01 for days, 2013-01 for months, 2013.")
    end: str | int | None = Field(
        default=None, description="Key of the first one left out; without it they go on for ever."
    )
    source: str | None = Field(
        default=None,
        description="A function, as my_project.flights.read: takes the asset's context, returns a table or frame. "
        "Without it somebody else writes the data, and a sensor reports what is there.",
    )
    format: Literal["delta", "parquet"] = "delta"
    partition: Annotated[
        Any,
        dg.Resolver(
            _as_said, model_field_type=PartitionSpec, description="By time, and by at most one other column as well."
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
        dg.Resolver(_as_said, model_field_type=TextOptions, description="How a source's text files are written."),
    ] = TextOptions()
    write: Annotated[
        Any, dg.Resolver(_as_said, model_field_type=WriteSpec, description="Encryption, class, compression, sizes.")
    ] = WriteSpec()
    tiers: Annotated[
        Any,
        dg.Resolver(
            _as_said, model_field_type=tuple[TierStep, ...], description="From which age on partitions belong where."
        ),
    ] = ()
    retention: Annotated[
        Any,
        dg.Resolver(
            _as_said,
            model_field_type=RetentionSpec,
            description="When partitions leave, and which assets must have seen them before.",
        ),
    ] = RetentionSpec()
    rejects: Annotated[
        Any, dg.Resolver(_as_said, model_field_type=RejectSpec, description="How many bad rows an ingest tolerates.")
    ] = RejectSpec()
    restores: bool | None = Field(
        default=None,
        description="Whether there are archived partitions to ask for and to wait for; without it, as the tiers say.",
    )
    tiering_cron: str = Field(default="0 6 * * *", description="When the tiering job runs, in the dataset's timezone.")
    io_manager: str = Field(default="lake_io_manager", description="Resource key of the LakeParquetIOManager.")
    pool: str | None = Field(
        default=POOL,
        description="The concurrency pool of its steps: one an endpoint, so that its limit is the store's.",
    )
    alert: str | None = Field(
        default=None, description="Resource key of what hears of failed steps, such as an `alerts.Webhook`."
    )
    partitions_per_run: int | None = Field(
        default=None, ge=1, description="Of a backfill, each run being one commit; without it one run does them all."
    )
    deps: list[str] = Field(default_factory=list, description="Keys of assets that the source reads.")
    description: str | None = None
    group_name: str | None = None
    owners: list[str] = Field(default_factory=list)
    tags: dict[str, str] = Field(default_factory=dict)

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:  # noqa: ARG002 - Dagster's signature
        """Make the definitions.

        Raises:
            SpecError: the attributes contradict each other, or there is no such source.
        """
        asset = self.lake_asset()
        name, spec = asset.identifier, asset.spec
        jobs: list[Any] = []
        schedules: list[dg.ScheduleDefinition] = []
        sensors: list[dg.SensorDefinition] = []
        assets: list[dg.AssetsDefinition | dg.AssetSpec]
        if self.source is None:
            assets = [self._external(asset)]
            sensors.append(observation_sensor(asset))
        else:
            assets = [self._written(asset, _function(self.source))]
            selection = dg.AssetSelection.assets(asset.asset_key)
            about = {DATASET_TAG: asset.name}
            jobs.append(dg.define_asset_job(f"{name}_job", selection, description=f"Ingests {asset.name}.", tags=about))
        jobs.append(policy_job(asset).with_hooks(self._hooks()))
        if spec.tiers:
            jobs.append(tiering_job(asset).with_hooks(self._hooks()))
            schedules.append(self._schedule(asset, jobs[-1]))
        if spec.retention.expire_after is not None:
            expiry = expiry_job(asset).with_hooks(self._hooks())
            jobs += [expiry, undo_job(asset).with_hooks(self._hooks())]
            sensors.append(retention_sensor(asset, ExpiryJob(expiry.name, f"{expiry.name}_op")))
        elif self.source is not None:
            sensors.append(reconciliation_sensor(asset))
        if any(step.tier == "archive" for step in spec.tiers) if self.restores is None else self.restores:
            jobs.append(restore_job(asset).with_hooks(self._hooks()))
            sensors.append(restore_sensor(asset))
        return dg.Definitions(
            assets=assets,
            asset_checks=[verify_check(asset), description_check(asset)],
            jobs=jobs,
            schedules=schedules,
            sensors=sensors,
        )

    def lake_asset(self) -> LakeAsset:
        """The dataset and its asset.

        Raises:
            SpecError: the attributes contradict each other.
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
        said = self.values[others[0]]
        other: dg.PartitionsDefinition[str]
        if said == DYNAMIC:
            other = dg.DynamicPartitionsDefinition(name=f"{self.key.replace('/', '__')}_{others[0]}")
        else:
            other = dg.StaticPartitionsDefinition(list(said))
        return dg.MultiPartitionsDefinition({time.key: windows, others[0]: other})

    def _external(self, asset: LakeAsset) -> dg.AssetSpec:
        return dg.AssetSpec(**self._about(asset))

    def _about(self, asset: LakeAsset) -> dict[str, Any]:
        """What an asset is told, whoever writes it."""
        return {
            "key": asset.asset_key,
            "partitions_def": asset.partitions_def,
            "metadata": spec_metadata(asset.spec),
            "kinds": _kinds(asset),
            "deps": [dg.AssetKey(key.split("/")) for key in self.deps],
            "description": self.description,
            "group_name": self.group_name,
            "owners": self.owners,
            "tags": self.tags,
        }

    def _written(self, asset: LakeAsset, source: Callable[[dg.AssetExecutionContext], Any]) -> dg.AssetsDefinition:
        over_time = isinstance(asset.partitions_def, dg.TimeWindowPartitionsDefinition)
        at_once = self.partitions_per_run
        policy = dg.BackfillPolicy.multi_run(at_once) if at_once else dg.BackfillPolicy.single_run()

        def written(context: dg.AssetExecutionContext) -> Any:
            with tell_dagster(context):
                return source(context)

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dg.BetaWarning)  # single-run backfills are in beta
            make: Any = dg.asset(
                **self._about(asset),
                backfill_policy=policy if over_time else None,
                io_manager_key=self.io_manager,
                pool=asset.pool,
                hooks=self._hooks(),
            )
            made: dg.AssetsDefinition = make(written)
        return made

    def _hooks(self) -> set[dg.HookDefinition]:
        return {alert_on_failure(self.alert)} if self.alert else set()

    def _schedule(self, asset: LakeAsset, job: dg.JobDefinition) -> dg.ScheduleDefinition:
        time = asset.spec.partition.time
        return dg.ScheduleDefinition(
            name=f"{job.name}_schedule",
            job=job,
            cron_schedule=self.tiering_cron,
            execution_timezone=time.timezone if time else None,
            description=f"What has grown old enough of {asset.name} moves to a cheaper tier.",
        )


def _kinds(asset: LakeAsset) -> set[str]:
    return {"deltalake", "parquet"} if asset.spec.format == "delta" else {"parquet"}


def _function(path: str) -> Callable[[dg.AssetExecutionContext], Any]:
    """Import what `my_project.flights.read` names.

    Raises:
        SpecError: it is not there, or is not a function.
    """
    module, _, name = path.rpartition(".")
    hint = "write a function's full name, as my_project.flights.read"
    try:
        found = getattr(import_module(module), name)
    except (AttributeError, ValueError, ModuleNotFoundError) as error:
        raise SpecError(f"there is no source {path}: {error}", hint=hint) from error
    if not callable(found):
        raise SpecError(f"the source {path} is not a function", hint=hint)
    return found  # type: ignore[no-any-return] # whatever the user's function is
