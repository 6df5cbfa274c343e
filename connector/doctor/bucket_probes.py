"""Probes of settings of a whole bucket; they need a bucket of our own. See `connector.doctor.probes`."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

from botocore import exceptions as boto

from tierlake.connector.doctor.place import FIRST, YES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tierlake.connector.doctor.place import Place


def lifecycle(action: dict[str, Any]) -> Callable[[Place], Awaitable[str]]:
    """Whether a lifecycle rule is accepted; its filter matches nothing, and it is removed again."""

    async def probe(place: Place) -> str:
        rule = {"ID": "probe", "Status": "Enabled", "Filter": {"Prefix": "no-such-prefix/"}, **action}
        answer = await place.takes("put_bucket_lifecycle_configuration", LifecycleConfiguration={"Rules": [rule]})
        if answer == YES:
            await place.ask("delete_bucket_lifecycle")
        return answer

    return probe


async def lifecycle_transition(place: Place) -> str:
    """Whether lifecycle moves objects to another class, or only to remote tiers."""
    answer = await lifecycle({"Transitions": [{"Days": 30, "StorageClass": "STANDARD_IA"}]})(place)
    return "remote tiers" if answer.endswith("InvalidStorageClass") else answer


async def public_access_block(place: Place) -> str:
    """Whether public access can be blocked."""
    names = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    return await place.has("put_public_access_block", PublicAccessBlockConfiguration=dict.fromkeys(names, True))


async def ownership(place: Place) -> str:
    """Whether object ownership can be enforced."""
    rules = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    return await place.has("put_bucket_ownership_controls", OwnershipControls=rules)


async def cors(place: Place) -> str:
    """Whether a bucket has CORS rules."""
    rule = {"AllowedOrigins": ["https://app.example"], "AllowedMethods": ["GET"]}
    return await place.has("put_bucket_cors", CORSConfiguration={"CORSRules": [rule]})


async def policy(place: Place) -> str:
    """To whom the bucket's policy applies: everybody, or only requests without credentials."""
    statement = {"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject"}
    statement["Resource"] = f"arn:aws:s3:::{place.bucket}/{await place.put(Key='denied')}"
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    answer = await place.takes("put_bucket_policy", Policy=document)
    if answer != YES:
        return answer
    try:
        async with (await place.ask("get_object", Key="denied"))["Body"]:
            return "anonymous"
    except boto.ClientError:
        return "everybody"
    finally:
        await place.ask("delete_bucket_policy")


async def default_encryption(place: Place) -> str:
    """Whether a bucket has a default encryption."""
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    answer = await place.has("put_bucket_encryption", ServerSideEncryptionConfiguration={"Rules": [rule]})
    if answer == YES:
        await place.ask("delete_bucket_encryption")
    return answer


async def put_creates_bucket(place: Place) -> str:
    """Whether a PUT into a missing bucket creates it."""
    name = f"tierlake-doctor-{uuid.uuid4().hex[:12]}"
    answer = await place.takes("put_object", Bucket=name, Key="x", Body=FIRST)
    if answer == YES:
        await place.ask("delete_object", Bucket=name, Key="x")
        await place.ask("delete_bucket", Bucket=name)
    return answer.partition(":")[0]
