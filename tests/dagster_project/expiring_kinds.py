"""Assets with each kind of partition, all by days that can expire: what a code location has of them."""

import dagster as dg

DAYS = ("2013-01-01", "2013-01-02", "2013-01-03")
_STATIC = dg.StaticPartitionsDefinition(list(DAYS))

KINDS: dict[str, dg.PartitionsDefinition] = {
    "window": dg.DailyPartitionsDefinition(DAYS[0], end_date="2013-01-04"),
    "static": _STATIC,
    "dynamic": dg.DynamicPartitionsDefinition(name="expiring_days"),
    "multi": dg.MultiPartitionsDefinition({"date": _STATIC, "city": dg.StaticPartitionsDefinition(["Kyiv", "Oslo"])}),
}

defs = dg.Definitions(assets=[dg.AssetSpec(kind, partitions_def=partitions) for kind, partitions in KINDS.items()])
