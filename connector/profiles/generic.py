"""An unknown server: what most servers can do, without anything that could do harm."""

from tierlake.connector.profiles.profile import Profile

PROFILE = Profile(
    name="generic",
    price_list="self_hosted",
    archived_classes=(),
    encryptions=("sse-s3", "sse-kms", "sse-c", "none"),
    encryption_alternatives={"dsse-kms": "sse-kms"},
    kms_bucket_key=False,
    # REPLACE with everything sent again is right on every server seen.
    self_copy_directive="REPLACE",
    # Not relied on: a precondition that is ignored would be worse than one that is not sent.
    copy_if_none_match=False,
    copy_if_match=False,
    delete_if_match=False,
    complete_if_match=False,
    put_creates_bucket=True,
    self_copy_keeps_tags=False,
    refuses_full_buckets=False,
    lifecycle_transitions=False,
    restore=False,
    public_access_block=False,
    ownership_controls=False,
    bucket_cors=False,
    # A statement that such a server reads differently could lock everybody out.
    bucket_policy=False,
)
