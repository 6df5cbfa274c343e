"""Buckets described by a spec: plan, review, apply. A second apply changes nothing."""

from tierlake.connector.bucket.ensure import BucketChange, LifecycleChange, ensure_bucket, ensure_tier_rules
from tierlake.connector.bucket.items import Item
from tierlake.connector.bucket.minio_tier import ensure_remote_tier, remote_tiers
from tierlake.connector.bucket.plan import BucketPlan, BucketResult, plan_bucket
from tierlake.connector.bucket.remote_tier import RemoteTier
from tierlake.connector.bucket.spec import BucketSpec, CorsRule, LifecycleSpec, PolicySpec

__all__ = [
    "BucketChange",
    "BucketPlan",
    "BucketResult",
    "BucketSpec",
    "CorsRule",
    "Item",
    "LifecycleChange",
    "LifecycleSpec",
    "PolicySpec",
    "RemoteTier",
    "ensure_bucket",
    "ensure_remote_tier",
    "ensure_tier_rules",
    "plan_bucket",
    "remote_tiers",
]
