"""Policy documents as values: each role gets the permissions that it needs, and no others.

- `reader` reads datasets and objects.
- `writer` also creates and replaces objects, and never deletes one. That is enough for all commits to a Delta
  table: ingest and compact, but also expire and undo; only `vacuum` deletes bytes.
- `operator` also deletes: it vacuums, tiers, restores, erases, and expires plain tables. Without a prefix it sets
  buckets up as well (versioning, default encryption, lifecycle). It cannot change a bucket's policy, with which it
  could give itself all rights. Nor can it read policies, CORS, ownership and the block of public access:
  `bucket plan` and `bucket apply` need an administrator, unless the spec leaves these out.

A prefix confines listing as well as objects: neighbours can be neither seen nor changed. Settings of a whole bucket
affect neighbours, so they are left out, and so are lists of uploads, which no policy can confine. In each folder above
the prefix two names may be listed, a table's log and its description, as the connector must know whether a path lies
inside a table.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

from tierlake.connector.errors import InvalidSetting
from tierlake.connector.listing.views import view_providers
from tierlake.connector.names import check_bucket, check_key

Role = Literal["reader", "writer", "operator"]
ROLES: tuple[str, ...] = get_args(Role)

# Action to the use of its requests; names from
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
_LISTING: dict[str, tuple[str, ...]] = {
    "reader": (
        "s3:ListBucket",  # listings, HeadBucket
    ),
    "writer": (),
    "operator": (
        "s3:ListBucketVersions",  # which older versions are there to delete?
    ),
}
"""Each request is for keys with a prefix, which a policy can confine (`s3:prefix`).

A GET of a missing key below it gets 404, as the key then counts as `s3:prefix`
(https://github.com/ceph/ceph/pull/68577 on what AWS does). HeadBucket names no key: it is denied.
"""
_BUCKET: dict[str, tuple[str, ...]] = {
    "reader": (),
    "writer": (),
    "operator": (
        "s3:GetBucketObjectLockConfiguration",  # can a hold be a legal hold too?
        "s3:GetBucketVersioning",  # are there older versions to delete?
    ),
}
_WHOLE_BUCKET: dict[str, tuple[str, ...]] = {
    "reader": (),
    "writer": (),
    "operator": (
        "s3:ListBucketMultipartUploads",  # `uploads abort`; `s3:prefix` is no condition of it, MinIO refuses the policy
        "s3:PutBucketVersioning",  # `bucket apply`, as the rest
        "s3:GetEncryptionConfiguration",
        "s3:PutEncryptionConfiguration",
        "s3:GetLifecycleConfiguration",
        "s3:PutLifecycleConfiguration",
    ),
}
"""Never allowed with a prefix, which cannot confine them: one user's lifecycle rule could delete others' objects."""
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
        "s3:PutObjectVersionTagging",  # a copy is tagged with its source until that is deleted
        "s3:RestoreObject",
        "s3:GetObjectLegalHold",  # HEAD shows it only with this right; transitions keep it
        "s3:GetObjectRetention",  # and refuse objects under one
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
        role: `reader`, `writer` or `operator`; each includes the one before it.
        bucket: The bucket.
        prefix: Confine the role to objects below it, for listing too, without settings of the whole bucket.
        kms_key: The ARN of the key, if objects are encrypted with SSE-KMS.

    Returns:
        An IAM policy, in the form that AWS and MinIO accept.

    Raises:
        InvalidSetting: There is no such role.
        InvalidName: The bucket or the prefix is invalid, or could match others.
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
    arn = f"arn:aws:s3:::{bucket}"
    if below:
        statements = [
            _allow("List", _actions(_LISTING, included), arn, StringLike={"s3:prefix": [f"{below}/*"]}),
            _allow("Tables", ["s3:ListBucket"], arn, StringEquals={"s3:prefix": _tables_above(below)}),
        ]
        on_bucket = _actions(_BUCKET, included)
    else:
        statements = []
        on_bucket = sorted(
            _actions(_LISTING, included) + _actions(_BUCKET, included) + _actions(_WHOLE_BUCKET, included)
        )
    if on_bucket:
        statements.append(_allow("Bucket", on_bucket, arn))
    statements.append(_allow("Objects", _actions(_OBJECTS, included), f"{arn}/{below + '/' if below else ''}*"))
    if kms_key:
        statements.append(_allow("Key", _actions(_KMS, included), kms_key))
    return {"Version": "2012-10-17", "Statement": statements}


def _actions(table: dict[str, tuple[str, ...]], roles: tuple[str, ...]) -> list[str]:
    return sorted(action for role in roles for action in table[role])


def _tables_above(below: str) -> list[str]:
    """The paths of the log and the description of a table in which the prefix may lie."""
    parts = below.split("/")
    folders = ["".join(f"{part}/" for part in parts[:depth]) for depth in range(len(parts))]
    marks = {mark for provider in view_providers() for mark in (provider.marker, provider.description) if mark}
    return [f"{folder}{mark}" for folder in folders for mark in sorted(marks)]


def _allow(name: str, actions: list[str], resource: str, **condition: dict[str, list[str]]) -> dict[str, Any]:
    allowed = {"Sid": name, "Effect": "Allow", "Action": actions, "Resource": [resource]}
    return {**allowed, "Condition": condition} if condition else allowed
