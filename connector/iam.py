"""What each role must be allowed, and nothing more: policy documents as values.

- ``reader`` reads datasets and objects.
- ``writer`` also ingests: it creates and replaces objects, and never deletes one.
- ``operator`` also tiers, expires, vacuums and restores, and sets buckets up (versioning, default encryption,
  lifecycle). It cannot change a bucket's policy, with which it could give itself everything. Nor can it look at
  policies, CORS, ownership and the block of public access: ``bucket plan`` and ``bucket apply`` are an administrator's,
  unless the spec leaves these out.

Objects are limited to the prefix. Listing is by bucket: the code asks for the bucket itself, and looks for tables above
a path, so the names of other keys can be seen; their bytes cannot.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

from connector.errors import InvalidSetting
from connector.names import check_bucket, check_key

Role = Literal["reader", "writer", "operator"]
ROLES: tuple[str, ...] = get_args(Role)

# Action to what of ours makes the request; names from
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
_BUCKET: dict[str, tuple[str, ...]] = {
    "reader": (
        "s3:ListBucket",  # listings, HeadBucket
    ),
    "writer": (),
    "operator": (
        "s3:GetBucketObjectLockConfiguration",  # can a hold be a legal hold too?
        "s3:GetBucketVersioning",  # are there older versions to delete?
        "s3:ListBucketVersions",  # which?
        "s3:ListBucketMultipartUploads",  # `uploads abort`
        "s3:PutBucketVersioning",  # `bucket apply`, as the rest
        "s3:GetEncryptionConfiguration",
        "s3:PutEncryptionConfiguration",
        "s3:GetLifecycleConfiguration",
        "s3:PutLifecycleConfiguration",
    ),
}
_OBJECTS: dict[str, tuple[str, ...]] = {
    "reader": (
        "s3:GetObject",  # GET and HEAD
        "s3:GetObjectVersion",  # of a version
    ),
    "writer": (
        "s3:PutObject",  # single and multipart
        "s3:PutObjectTagging",  # tags that a write rule adds
        "s3:AbortMultipartUpload",  # of an upload that failed
        "s3:ListMultipartUploadParts",  # was the upload whose reply was lost completed?
    ),
    "operator": (
        "s3:DeleteObject",
        "s3:DeleteObjectVersion",  # vacuum and transitions in versioned buckets
        "s3:GetObjectTagging",  # transitions keep tags
        "s3:GetObjectVersionTagging",
        "s3:PutObjectVersionTagging",  # a copy says what it was made from until that is deleted
        "s3:RestoreObject",
        "s3:GetObjectLegalHold",  # HEAD says it only to who may see it; transitions keep it
        "s3:GetObjectRetention",  # and refuse what it keeps
        "s3:PutObjectLegalHold",  # a partition is held or released
    ),
}
_KMS: dict[str, tuple[str, ...]] = {
    "reader": ("kms:Decrypt",),
    "writer": ("kms:GenerateDataKey",),
    "operator": (),
}


def policy_document(role: str, bucket: str, prefix: str = "", *, kms_key: str | None = None) -> dict[str, Any]:
    """The least privilege for a role.

    Args:
        role: ``reader``, ``writer`` or ``operator``; each includes the one before it.
        bucket: The bucket.
        prefix: Only objects below it.
        kms_key: The ARN of the key, where objects are encrypted with SSE-KMS.

    Returns:
        An IAM policy, as AWS and MinIO take it.

    Raises:
        InvalidSetting: There is no such role.
        InvalidName: The bucket or the prefix is none, or could stand for others.
    """
    if role not in ROLES:
        raise InvalidSetting(f"There is no role {role!r}; there are {', '.join(ROLES)}")
    check_bucket(bucket)
    below = prefix.strip("/")
    if below:
        check_key(below, bucket=bucket)
    if any(letter in below for letter in "*?$"):
        raise InvalidSetting("A prefix of a policy must not hold *, ? or $: they stand for other keys there")
    included = ROLES[: ROLES.index(role) + 1]
    statements = [
        _allow("Bucket", _actions(_BUCKET, included), f"arn:aws:s3:::{bucket}"),
        _allow("Objects", _actions(_OBJECTS, included), f"arn:aws:s3:::{bucket}/{below + '/' if below else ''}*"),
    ]
    if kms_key:
        statements.append(_allow("Key", _actions(_KMS, included), kms_key))
    return {"Version": "2012-10-17", "Statement": statements}


def _actions(table: dict[str, tuple[str, ...]], roles: tuple[str, ...]) -> list[str]:
    return sorted(action for role in roles for action in table[role])


def _allow(name: str, actions: list[str], resource: str) -> dict[str, Any]:
    return {"Sid": name, "Effect": "Allow", "Action": actions, "Resource": [resource]}
