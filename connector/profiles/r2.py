"""Cloudflare R2, by its documentation; not tried here: `tierlake doctor` tries a server.

Its `Server` header is that of all of Cloudflare, so the profile must be named. The region is `auto`, for which
us-east-1 is taken too. The source, where no other is named: https://developers.cloudflare.com/r2/api/s3/api/
"""

from tierlake.connector.profiles.profile import Profile

PROFILE = Profile(
    name="r2",
    # No list of ours has R2's prices: a dataset can name one.
    price_list="self_hosted",
    # https://developers.cloudflare.com/r2/buckets/storage-classes/: Standard and Infrequent Access.
    storage_classes=("STANDARD", "STANDARD_IA"),
    archived_classes=(),
    tier_classes={"hot": "STANDARD", "warm": "STANDARD_IA"},
    # https://developers.cloudflare.com/r2/reference/data-security/: all is encrypted with AES-256, and nobody
    # can ask for it: x-amz-server-side-encryption is not implemented, customers' keys are.
    encryptions=("sse-c", "none"),
    encryption_alternatives=dict.fromkeys(("sse-s3", "sse-kms", "dsse-kms"), "none: R2 encrypts every object at rest"),
    kms_bucket_key=False,
    self_copy_directive="REPLACE",
    # The destination's condition has a header of R2's own, cf-copy-destination-if-none-match:
    # https://developers.cloudflare.com/r2/api/s3/extensions/
    copy_if_none_match=False,
    copy_if_match=False,
    delete_if_match=False,
    complete_if_none_match=False,
    complete_if_match=False,
    # PutObjectTagging, PutBucketVersioning, PutBucketEncryption, PutPublicAccessBlock, PutBucketOwnershipControls and
    # RestoreObject are in the table of what is not implemented.
    self_copy_keeps_tags=False,
    self_copy_keeps_encryption=False,
    copy_keeps_encryption=False,
    versions=False,
    repeated_delete_adds_marker=False,
    default_encryption=False,
    public_access_block=False,
    ownership_controls=False,
    bucket_policy=False,
    restore=False,
    alternatives={
        "default_encryption": "nothing is needed: R2 encrypts every object at rest",
        # https://developers.cloudflare.com/r2/buckets/public-buckets/
        "public_access_block": "buckets are private unless a domain or r2.dev is switched on for them",
        "ownership_controls": "nothing is needed: there are no ACLs",
        # https://developers.cloudflare.com/r2/api/tokens/
        "bucket_policy": "API tokens for single buckets; its API answers over https alone",
    },
)
