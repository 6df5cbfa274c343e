"""Dagster, for anybody's project, and a demo of it.

`from tierlake import LakeDataset, LakeResource, LakeParquetIOManager` has what most projects need: a component that
makes all definitions of one dataset, the lake as a resource, and an IO manager. Beside these:

    partitions.reads.report_read            records what an asset reads by hand
    partitions.conditions.not_expired       keeps automation from ingesting again what has expired
    partitions.wipe.wipe_partitions         makes Dagster forget partitions; it stands alone
    resources.failures.dagster_failures     tries again what may pass, and fails with code, hint and request id
    automation.alerts.alert_on_failure      hears of failed steps
    executors.configured.chosen_executor    where steps run, by configuration

`tierlake.dagster_project.demo.definitions` is what `dagster` and `dg` load here.
"""
