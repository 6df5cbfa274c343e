"""Assets with each kind of partition, which materialize nothing but their events."""

import warnings

import dagster as dg

COLORS = dg.StaticPartitionsDefinition(["red", "green", "blue"])
DAYS = dg.DailyPartitionsDefinition("2013-01-01", end_date="2013-01-11")
CITIES = dg.DynamicPartitionsDefinition(name="cities")
DAYS_AND_COLORS = dg.MultiPartitionsDefinition({"color": COLORS, "day": DAYS})

KINDS: dict[str, dg.PartitionsDefinition] = {
    "static": COLORS,
    "daily": DAYS,
    "dynamic": CITIES,
    "multi": DAYS_AND_COLORS,
}


def _asset(name: str, partitions_def: dg.PartitionsDefinition) -> dg.AssetsDefinition:
    @dg.asset(
        name=name,
        partitions_def=partitions_def,
        backfill_policy=dg.BackfillPolicy.single_run(),
        config_schema={"fail": dg.Field(bool, default_value=False)},
    )
    def body(context: dg.AssetExecutionContext) -> None:
        if context.op_execution_context.op_config["fail"]:
            raise dg.Failure("as asked")

    return body


with warnings.catch_warnings():
    warnings.simplefilter("ignore", dg.BetaWarning)  # single-run backfills are in beta
    ASSETS = {name: _asset(name, partitions_def) for name, partitions_def in KINDS.items()}

defs = dg.Definitions(assets=list(ASSETS.values()))
