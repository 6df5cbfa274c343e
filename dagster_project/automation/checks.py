"""Asset checks: the table, the store and the description agree."""

import dagster as dg

from tierlake.dagster_project.automation.gauges import emit_figures
from tierlake.dagster_project.partitions.lake_asset import LakeAsset
from tierlake.dagster_project.resources.failures import dagster_failures
from tierlake.dagster_project.resources.lake import LakeResource

__all__ = ["description_check", "verify_check"]


def description_check(asset: LakeAsset) -> dg.AssetChecksDefinition:
    """The description in the code is the one that is stored with the dataset; the next run of it makes it so."""

    @dg.asset_check(
        asset=asset.asset_key, name="described_as_stored", description=description_check.__doc__, pool=asset.pool
    )
    def check(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> dg.AssetCheckResult:
        with dagster_failures(context):
            dataset = asset.dataset_in(lake)
            if not dataset.is_described:
                return dg.AssetCheckResult(passed=True, description="nobody described the table: the code counts")
            diff = dataset.diff(asset.described_at(dataset), lake.today())
        # fields that can change are changed by the next run; a field that cannot stops it
        severity = dg.AssetCheckSeverity.ERROR if diff.refused else dg.AssetCheckSeverity.WARN
        return dg.AssetCheckResult(
            passed=not diff.differs,
            severity=severity,
            metadata={"diff": dg.MetadataValue.md(f"```\n{diff}\n```")},
        )

    return check


def verify_check(asset: LakeAsset) -> dg.AssetChecksDefinition:
    """All that the table names is in the store, encrypted and in the storage class that the policy demands."""

    @dg.asset_check(
        asset=asset.asset_key, name="table_and_store_agree", description=verify_check.__doc__, pool=asset.pool
    )
    def check(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> dg.AssetCheckResult:
        with dagster_failures(context):
            dataset = asset.dataset_in(lake)
            report = dataset.verify(lake.today())
            emit_figures(context, dataset, lake.today())
        return dg.AssetCheckResult(
            passed=report.ok,
            severity=dg.AssetCheckSeverity.ERROR,
            metadata={"report": dg.MetadataValue.md(f"```\n{report}\n```")},
        )

    return check
