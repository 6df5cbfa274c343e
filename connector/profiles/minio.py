"""MinIO, seen on a build of the year 2026 with a KMS key (`MINIO_KMS_SECRET_KEY`)."""

from tierlake.connector.profiles.profile import Profile

PROFILE = Profile(
    name="minio",
    server_headers=("MinIO",),
    # Seen: any other class is InvalidStorageClass.
    storage_classes=("STANDARD", "REDUCED_REDUNDANCY"),
    archived_classes=(),
    # Remote tiers, set up by the admin API; an object that was moved reports the tier's name, and MinIO
    # takes only upper-case names.
    tier_classes={"hot": "STANDARD", "warm": "WARM", "cold": "COLD", "archive": "ARCHIVE"},
    price_list="self_hosted",
    mover="tag",
    # Seen: DSSE-KMS is InvalidArgument; SSE-S3 and SSE-KMS need a KMS, else they are refused.
    encryptions=("sse-s3", "sse-kms", "sse-c", "none"),
    encryption_alternatives={"dsse-kms": "sse-kms"},
    # Seen: "Requests specifying Server Side Encryption with Customer provided keys must be made over a
    # secure connection".
    sse_c_over_http=False,
    # Seen: the header is dropped.
    kms_bucket_key=False,
    self_copy_directive="COPY",
    # Seen: the ETag of a multipart object changes.
    etag_survives_self_copy=False,
    # Seen: a copy's If-None-Match is ignored, and so is If-Match on DELETE.
    copy_if_none_match=False,
    copy_if_match=False,
    delete_if_match=False,
    objects_hide_folders=True,
    # Seen: a prefix finds nothing; the whole bucket or an exact key does.
    uploads_by_prefix=False,
    # Seen: refused; the server itself drops uploads 24 hours after their initiation.
    abort_uploads_rule=False,
    remote_tiers=True,
    # Seen: MalformedXML for both.
    public_access_block=False,
    ownership_controls=False,
    # Seen: NotImplemented; there is a server-wide setting, `mc admin config set ALIAS api cors_allow_origin`.
    bucket_cors=False,
    # Seen: the denials of a bucket's policy bind requests without credentials alone; those of a user's policy bind the
    # user, but not root.
    policy_binds="anonymous",
    alternatives={
        "abort_uploads_rule": "the server drops uploads 24 hours after they began; `tierlake uploads abort` sooner",
        "public_access_block": "nothing is public unless the bucket's policy says so: there are no ACLs",
        "ownership_controls": "nothing is needed: objects have no owners and no ACLs of their own",
        "bucket_cors": "the server's setting: mc admin config set ALIAS api cors_allow_origin=ORIGIN,...",
        "lifecycle_transitions": "remote tiers",
    },
    # Seen: no further marker.
    repeated_delete_adds_marker=False,
    # Seen: accepted, readable, and in no listing.
    keys_below_objects_hidden=True,
    # Seen: a copy drops SSE, its own or another key's, and keeps the class.
    self_copy_keeps_encryption=False,
    copy_keeps_encryption=False,
    copy_keeps_class=True,
    # Seen: NoSuchUpload.
    complete_again=False,
)
