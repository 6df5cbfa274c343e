"""Ceph's object gateway (RGW), by its documentation; not tried here: `tierlake doctor` tries a server.

Abilities that the documentation leaves open count as missing: a precondition that is ignored would be worse than one
that is not sent.
"""

from tierlake.connector.profiles.profile import Profile

PROFILE = Profile(
    name="ceph",
    price_list="self_hosted",
    server_headers=("Ceph Object Gateway",),
    # https://docs.ceph.com/en/latest/radosgw/placement/: STANDARD is always there; others are what the administrator
    # has added to the placement target, by AWS's names as some clients know no other ones.
    storage_classes=(
        "STANDARD",
        "REDUCED_REDUNDANCY",
        "STANDARD_IA",
        "ONEZONE_IA",
        "INTELLIGENT_TIERING",
        "GLACIER",
        "DEEP_ARCHIVE",
        "GLACIER_IR",
    ),
    archived_classes=(),
    # https://docs.ceph.com/en/latest/radosgw/encryption/: SSE-C over TLS (rgw crypt require ssl), SSE-KMS with
    # Barbican, Vault or KMIP, SSE-S3 with Vault.
    encryptions=("sse-s3", "sse-kms", "sse-c", "none"),
    encryption_alternatives={"dsse-kms": "sse-kms"},
    kms_bucket_key=False,
    # Right on every server seen.
    self_copy_directive="REPLACE",
    self_copy_keeps_tags=False,
    copy_if_none_match=False,
    copy_if_match=False,
    delete_if_match=False,
    put_creates_bucket=True,
    # https://docs.ceph.com/en/latest/radosgw/s3/bucketops/: public access block and lifecycle are there, ownership
    # controls are not named; https://docs.ceph.com/en/latest/radosgw/cloud-restore/: only from cloud tiers.
    # https://docs.ceph.com/en/latest/radosgw/bucketpolicy/: bucket policies are there, with aws:SecureTransport and the
    # conditions of encryption.
    ownership_controls=False,
    restore=False,
    # Not named in https://docs.ceph.com/en/latest/radosgw/s3/objectops/.
    self_copy_keeps_encryption=False,
    copy_keeps_encryption=False,
    complete_if_none_match=False,
    complete_if_match=False,
)
