"""Asset checks: what a reader relies on."""

import dagster as dg

from dagster_project.failures import tell_dagster
from dagster_project.lake_asset import LakeAsset
from dagster_project.resources import LakeResource

__all__ = ["verify_check"]


def verify_check(asset: LakeAsset) -> dg.AssetChecksDefinition:
    """All that the table names is in the store, encrypted and in the class that the policy says."""

    @dg.asset_check(
        asset=asset.asset_key, name="table_and_store_agree", description=verify_check.__doc__, pool=asset.pool
    )
    def check(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> dg.AssetCheckResult:
        with tell_dagster(context):
            report = asset.dataset_in(lake).verify(lake.today())
        return dg.AssetCheckResult(
            passed=report.ok,
            severity=dg.AssetCheckSeverity.ERROR,
            metadata={"report": dg.MetadataValue.md(f"```\n{report}\n```")},
        )

    return check
