"""Who can get access to a bucket: object ownership and the block of public access."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tierlake.connector.bucket.items import Part, compared
from tierlake.connector.bucket.policy import read_policy
from tierlake.connector.bucket.statements import lets_everybody_in

if TYPE_CHECKING:
    from tierlake.connector.bucket.items import Site
    from tierlake.connector.bucket.spec import BucketSpec

__all__ = ["ownership", "public_access"]

ENFORCED = "BucketOwnerEnforced"
BLOCKS = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
"""https://docs.aws.amazon.com/AmazonS3/latest/API/API_PublicAccessBlockConfiguration.html"""


async def ownership(site: Site, spec: BucketSpec) -> Part:
    """The part that gives every object to the bucket's owner and turns ACLs off."""
    if spec.ownership_enforced is None:
        return Part()
    aspect, expected = "object ownership", ENFORCED
    if not site.profile.ownership_controls:
        return Part((site.lacking(aspect, expected, "ownership_controls"),))
    rules = (await site.read("get_bucket_ownership_controls")).get("OwnershipControls", {}).get("Rules") or [{}]
    controls = {"Rules": [{"ObjectOwnership": expected}]}
    return Part(
        (compared(aspect, rules[0].get("ObjectOwnership", ""), expected),),
        partial(site.send, "put_bucket_ownership_controls", OwnershipControls=controls),
    )


async def public_access(site: Site, spec: BucketSpec) -> Part:
    """The part that keeps ACLs and policies from opening the bucket to everybody."""
    if spec.block_public_access is None:
        return Part()
    aspect, expected = "public access", "blocked"
    if not site.profile.public_access_block:
        opened = lets_everybody_in(await read_policy(site)) if site.profile.bucket_policy else []
        current = f"open to everybody by the policy's statement {', '.join(opened)}" if opened else ""
        return Part((site.lacking(aspect, expected, "public_access_block", current),))
    block = (await site.read("get_public_access_block")).get("PublicAccessBlockConfiguration", {})
    missing = [name for name in BLOCKS if not block.get(name)]
    current = "" if len(missing) == len(BLOCKS) else f"not {', '.join(missing)}" if missing else expected
    configuration = dict.fromkeys(BLOCKS, True)
    return Part(
        (compared(aspect, current, expected),),
        partial(site.send, "put_public_access_block", PublicAccessBlockConfiguration=configuration),
    )
