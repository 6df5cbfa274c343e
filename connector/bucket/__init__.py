"""Buckets as they should be: set-up, lifecycle rules, remote tiers. Doing it again changes nothing."""

from connector.bucket.lifecycle import LifecycleChange, ensure_tier_rules
from connector.bucket.minio_tier import RemoteTier, ensure_remote_tier, remote_tiers
from connector.bucket.setup import BucketChange, ensure_bucket

__all__ = [
    "BucketChange",
    "LifecycleChange",
    "RemoteTier",
    "ensure_bucket",
    "ensure_remote_tier",
    "ensure_tier_rules",
    "remote_tiers",
]
