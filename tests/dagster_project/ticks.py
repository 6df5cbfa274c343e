"""Ticks of a sensor, as the daemon makes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dagster as dg

if TYPE_CHECKING:
    from tierlake.dagster_project.resources.lake import LakeResource


def evaluate(
    sensor: dg.SensorDefinition,
    instance: dg.DagsterInstance,
    lake: LakeResource,
    defs: dg.Definitions,
    cursor: str | None = None,
) -> Any:
    """What one tick returns; nothing of it is stored."""
    context = dg.build_sensor_context(
        instance, sensor_name=sensor.name, definitions=defs, resources={"lake": lake}, cursor=cursor
    )
    with context:
        return sensor.evaluate_tick(context)


class Ticks:
    """Calls are ticks, after each of which the cursor, dynamic partitions and events are stored."""

    def __init__(
        self, sensor: dg.SensorDefinition, instance: dg.DagsterInstance, lake: LakeResource, defs: dg.Definitions
    ) -> None:
        self.sensor, self.instance, self.lake, self.defs = sensor, instance, lake, defs
        self.cursor: str | None = None

    def __call__(self) -> Any:
        execution = evaluate(self.sensor, self.instance, self.lake, self.defs, self.cursor)
        self.cursor = execution.cursor or self.cursor
        for request in execution.dynamic_partitions_requests or []:
            self.instance.add_dynamic_partitions(request.partitions_def_name, request.partition_keys)
        for event in execution.asset_events:
            self.instance.report_runless_asset_event(event)
        return execution
