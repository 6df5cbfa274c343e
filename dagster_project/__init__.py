"""Dagster definitions: assets, an IO manager, tiering on a schedule, retention by a sensor.

`dagster_project.definitions` is what `dagster` and `dg` load. For other Dagster projects:
`resources.LakeResource`, `io_manager.LakeParquetIOManager` and `partition_wipe`, which stands alone.
"""
