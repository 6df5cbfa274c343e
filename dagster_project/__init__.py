"""Dagster definitions: assets, an IO manager, tiering on a schedule, retention by a sensor.

`tierlake.dagster_project.demo.definitions` is what `dagster` and `dg` load. For other Dagster projects:
`resources.LakeResource`, `io_manager.LakeParquetIOManager`, `component.LakeDataset`,
which makes all that one dataset needs from a YAML file, `reads.report_read`, `failures.tell_dagster`,
`alerts.alert_on_failure`, `executors.chosen_executor`, and `partition_wipe`, which stands alone.
"""
