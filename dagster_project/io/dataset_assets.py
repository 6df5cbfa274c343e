"""The asset that stands for a dataset: somebody else's, one made of a source function, or a definition of one's own."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from importlib import import_module
from inspect import isgenerator
from itertools import chain, islice
from typing import Any, Final, TypeAlias

import dagster as dg

from tierlake.dagster_project.partitions.lake_asset import LakeAsset
from tierlake.dagster_project.partitions.metadata import spec_metadata
from tierlake.dagster_project.resources.failures import dagster_failures
from tierlake.pipelines.errors import SpecError

__all__ = ["SourceFunction", "adopted_asset", "external_asset", "import_source", "source_asset"]

SourceFunction: TypeAlias = Callable[[dg.AssetExecutionContext], Any]
"""Takes the asset's context; returns a table, a frame or a path, or yields some of them, one after the other."""

_EVENTS: Final = (
    dg.AssetCheckResult,
    dg.AssetMaterialization,
    dg.AssetObservation,
    dg.DynamicOutput,
    dg.ExpectationResult,
    dg.MaterializeResult,
    dg.Output,
)


def import_source(path: str) -> SourceFunction | dg.AssetsDefinition:
    """Import what `my_project.flights.read` names.

    Raises:
        SpecError: It is not there, or is neither a function nor an asset.
    """
    module, _, name = path.rpartition(".")
    hint = "write the full name of a function or an asset, as my_project.flights.read"
    try:
        source = getattr(import_module(module), name)
    except (AttributeError, ValueError, ModuleNotFoundError) as error:
        raise SpecError(f"there is no source {path}: {error}", hint=hint) from error
    if isinstance(source, dg.AssetsDefinition):
        return source
    if not callable(source):
        raise SpecError(f"the source {path} is not a function", hint=hint)
    return source  # type: ignore[no-any-return] # the user's own function


def external_asset(asset: LakeAsset, attributes: Mapping[str, Any], metadata: Mapping[str, Any]) -> dg.AssetSpec:
    """The asset of a dataset that somebody else writes.

    Args:
        asset: The dataset's.
        attributes: Description, owners and the like, as `dagster.AssetSpec` takes them.
        metadata: Definition metadata beside the dataset's description.
    """
    return dg.AssetSpec(**_defined(asset, metadata), **attributes)


def source_asset(
    asset: LakeAsset,
    source: SourceFunction,
    attributes: Mapping[str, Any],
    metadata: Mapping[str, Any],
    *,
    io_manager: str,
    partitions_per_run: int | None,
    hooks: AbstractSet[dg.HookDefinition],
) -> dg.AssetsDefinition:
    """An asset that stores what a function returns.

    Args:
        asset: The dataset's.
        source: Returns the rows of the run's partitions.
        attributes: Description, owners and the like, as `dagster.asset` takes them.
        metadata: Definition metadata beside the dataset's description.
        io_manager: Resource key of the `LakeParquetIOManager`.
        partitions_per_run: The number of partitions of a backfill's run; None means all.
        hooks: Hooks of its step.
    """
    over_time = isinstance(asset.partitions_def, dg.TimeWindowPartitionsDefinition)
    if partitions_per_run and not over_time:
        message = f"{asset.name}: each of its partitions is a run of its own, as they are not windows of time alone"
        raise SpecError(message, hint="leave partitions_per_run out")

    def written(context: dg.AssetExecutionContext) -> Any:
        with dagster_failures(context):
            returned = source(context)
            return _rows_or_events(returned) if isgenerator(returned) else returned

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # single-run backfills are in beta
        single, multi = dg.BackfillPolicy.single_run, dg.BackfillPolicy.multi_run
        policy = multi(partitions_per_run) if partitions_per_run else single()
        make: Any = dg.asset(
            **_defined(asset, metadata),
            **attributes,
            backfill_policy=policy if over_time else None,
            io_manager_key=io_manager,
            pool=asset.pool,
            hooks=set(hooks),
        )
        made: dg.AssetsDefinition = make(written)
    return made


def _rows_or_events(items: Iterator[Any]) -> Any:
    """What a generator yields: Dagster's events as they come; rows as one output, in what is no generator."""
    first = list(islice(items, 1))
    everything = chain(first, items)
    if first and isinstance(first[0], _EVENTS):
        return (event for event in everything)
    return everything


def adopted_asset(
    asset: LakeAsset,
    definition: dg.AssetsDefinition,
    metadata: Mapping[str, Any],
    hooks: AbstractSet[dg.HookDefinition],
) -> dg.AssetsDefinition:
    """An asset definition of one's own, with the dataset's description for the IO manager.

    Args:
        asset: The dataset's.
        definition: Its key and its partitions are the dataset's.
        metadata: Definition metadata beside the dataset's description, where it has none of these names itself.
        hooks: Hooks of its step, beside its own.

    Raises:
        SpecError: It has another key, or other partitions.
    """
    if definition.keys != {asset.asset_key}:
        keys = ", ".join(sorted(key.to_user_string() for key in definition.keys))
        raise SpecError(f"{asset.name}: the source is the asset {keys}", hint=f"give it the key {asset.name}")
    if definition.partitions_def != asset.partitions_def:
        raise SpecError(
            f"{asset.name}: the source has the partitions {definition.partitions_def}, and the dataset "
            f"{asset.partitions_def}",
            hint="give both the same windows: partitions_def=time_windows(every, timezone, start, end)",
        )
    described = definition.map_asset_specs(
        lambda spec: spec.replace_attributes(metadata={**metadata, **spec.metadata, **spec_metadata(asset.spec)})
    )
    return described.with_hooks(hooks) if hooks else described


def _defined(asset: LakeAsset, metadata: Mapping[str, Any]) -> dict[str, Any]:
    kinds = {"deltalake", "parquet", "s3"} if asset.spec.format == "delta" else {"parquet", "s3"}
    return {
        "key": asset.asset_key,
        "partitions_def": asset.partitions_def,
        "metadata": {**metadata, **spec_metadata(asset.spec)},
        "kinds": kinds,
    }
