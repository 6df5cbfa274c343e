"""The sensor of a dataset: it keeps Dagster true to the table, and partitions within their retention.

Each tick reconciles what Dagster shows with the table (`comparison`, `reconcile`), whoever changed the table, and
whatever died on the way. Where partitions expire, it then requests runs that expire those past their retention
(`run_requests`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from tierlake.connector.observe import gauge
from tierlake.dagster_project.automation.comparison import shown_now
from tierlake.dagster_project.automation.cursor import Cursor
from tierlake.dagster_project.automation.reconcile import PARTITIONS_PER_TICK, Reconciled, reconcile
from tierlake.dagster_project.automation.retention import Retention
from tierlake.dagster_project.automation.run_requests import RunRequests
from tierlake.dagster_project.automation.table_metadata import Touched, observations, touched_after
from tierlake.dagster_project.automation.wording import default_status
from tierlake.dagster_project.partitions.event_records import latest_storage_ids
from tierlake.dagster_project.partitions.event_storage import clear_stale_status
from tierlake.dagster_project.partitions.lake_asset import LakeAsset
from tierlake.dagster_project.partitions.lineage import downstreams_in
from tierlake.dagster_project.resources.failures import tick_errors
from tierlake.dagster_project.resources.lake import LakeResource
from tierlake.pipelines.errors import TableNotFound

if TYPE_CHECKING:
    from tierlake.pipelines import Dataset

__all__ = ["INTERVAL_SECONDS", "dataset_sensor"]

INTERVAL_SECONDS: Final = 300

Clock = Callable[[], datetime]

_NOW: Final[Clock] = partial(datetime.now, UTC)


def dataset_sensor(
    asset: LakeAsset, *, clock: Clock = _NOW, status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.STOPPED
) -> dg.SensorDefinition:
    """The sensor of one dataset.

    `<dataset>_retention` where partitions expire: it requests runs of the job `<dataset>_expiry`, and recognises them
    by the tag `tierlake/dataset`. `<dataset>_reconciliation` where they never do.

    Args:
        asset: The dataset's.
        clock: Dagster's, by which runs are too old to be alive, or old enough to be requested again.
        status: Whether it is on before anybody has switched it on or off.
    """
    if _expires(asset):
        name, description = "retention", f"Finds partitions of {asset.name} past their retention, and expires them."
        # by name: Dagster warns of its own beta parameter where it swaps the job
        target: dict[str, Any] = {"job_name": asset.definition_name("expiry")}
    else:
        name, description = "reconciliation", f"Shows the partitions of {asset.name} as the table has them."
        target = {"asset_selection": dg.AssetSelection.assets(asset.asset_key)}

    @tick_errors
    def tick(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SensorResult:
        return _Tick(context, asset, lake, clock()).result()

    make = dg.sensor(
        name=asset.definition_name(name),
        minimum_interval_seconds=INTERVAL_SECONDS,
        description=f"{description} {default_status(status)}",
        default_status=status,
        **target,
    )
    return make(tick)


def _expires(asset: LakeAsset) -> bool:
    return asset.spec.retention.expire_after is not None


@dataclass(frozen=True, slots=True)
class _Tick:
    """One evaluation."""

    context: dg.SensorEvaluationContext
    asset: LakeAsset
    lake: LakeResource
    now: datetime

    def result(self) -> dg.SensorResult:
        instance, asset = self.context.instance, self.asset
        try:
            dataset = asset.dataset_in(self.lake)
        except TableNotFound:
            return dg.SensorResult(skip_reason=self._no_table())
        if cleared := clear_stale_status(instance, asset.asset_key, asset.partitions_def):
            self.context.log.warning("the cached status of %d partitions was stale and has been cleared", len(cleared))
        today, before = self.lake.today(), Cursor.read(self.context.cursor)
        retention = Retention(instance, asset, dataset, downstreams_in(self.context.repository_def, asset))
        shown = shown_now(instance, asset)  # before the table: what comes in between does not count as gone
        with dataset.one_look():
            state = dataset.state()
            due = retention.due(today, since=before.state, shown=shown)
            gauge("expiry_backlog", len(due.keys) + len(due.unknown), dataset=dataset.uri)
            gauge("figures_timestamp_seconds", self.now.timestamp(), dataset=dataset.uri)
            reconciled = reconcile(instance, asset, dataset, due.shown, due.difference, limit=PARTITIONS_PER_TICK)
        touched = touched_after(instance, dataset, before.act, PARTITIONS_PER_TICK)
        events: list[dg.AssetMaterialization | dg.AssetObservation] = [*reconciled.events]
        events += self._observations(dataset, reconciled, touched)
        clauses = [str(reconciled)] if str(reconciled) else []
        if touched.keys:
            clauses.append(f"{len(touched.keys)} partitions have metadata of what they are now")
        if reconciled.wiped or reconciled.reported:
            dataset.settle()  # a writer died, or worked elsewhere
        requests: tuple[dg.RunRequest, ...] = ()
        if _expires(asset):
            requests, text = RunRequests(instance, asset, today, self.now, self.context.log).of(dataset, due)
            clauses += [text] if text else []
        elif not clauses:
            clauses.append(f"all {len(due.shown.latest)} partitions are shown as the table has them")
        for clause in clauses if requests else ():
            self.context.log.info("%s", clause)
        return dg.SensorResult(
            run_requests=list(requests),
            skip_reason=None if requests else "; ".join(clauses),
            asset_events=events,
            cursor=str(Cursor(state if reconciled.is_complete else before.state, touched.act)),
        )

    def _observations(self, dataset: "Dataset", reconciled: Reconciled, touched: Touched) -> list[dg.AssetObservation]:
        if not touched.is_any and (reconciled.obstacle or not reconciled.wiped):
            return []
        return list(observations(self.context.instance, self.asset, dataset, touched.keys))

    def _no_table(self) -> str:
        absent = f"{self.lake.uri(self.asset.name)} does not exist"
        shown = latest_storage_ids(self.context.instance, self.asset.asset_key)
        if not shown:
            return f"{absent} yet"
        return (
            f"{absent}, and Dagster shows {len(shown)} of its partitions: they stay, as the warehouse may be the wrong "
            "one; where the table was deleted, wipe the asset's materializations"
        )
