"""What a server really does: one probe a fact, tried in a place of its own.

A probe answers in a word or two, most with `yes` or `no`. Its row has the profile's answer too, which
`connector.doctor.report` compares. Requests go to the client as they are, without policy, guards and retries.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from tierlake.connector.doctor import bucket_probes, connection_probes, copy_probes, object_probes
from tierlake.connector.doctor.place import NO, YES
from tierlake.connector.policy.encryption import SseC, SseKms, SseS3

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tierlake.connector.doctor.place import Place
    from tierlake.connector.profiles import Profile


@dataclass(frozen=True)
class Probe:
    """One row.

    Args:
        what: The fact, as the row's heading.
        says: The answers that agree with the profile; none if it says nothing.
        does: Tries what the server does.
        needs: `prefix` if a prefix in any bucket will do, `bucket` if the bucket must be our own,
            `versions` if it must be our own and versioned.
    """

    what: str
    says: Callable[[Profile], tuple[str, ...]]
    does: Callable[[Place], Awaitable[str]]
    needs: Literal["prefix", "bucket", "versions"] = "prefix"


def flag(name: str) -> Callable[[Profile], tuple[str, ...]]:
    """The answer of a boolean field."""
    return lambda profile: (YES if getattr(profile, name) else NO,)


def constant(*answers: str) -> Callable[[Profile], tuple[str, ...]]:
    """The same answer for every profile, or none."""
    return lambda _profile: answers


def _takes_mode(mode: str) -> Callable[[Profile], tuple[str, ...]]:
    return lambda profile: (YES if mode in profile.encryptions else NO,)


def _takes_customer_keys(profile: Profile) -> tuple[str, ...]:
    if "sse-c" not in profile.encryptions:
        return (NO,)
    return (YES,) if profile.sse_c_over_http else (YES, NO)


def _moves(profile: Profile) -> tuple[str, ...]:
    if not profile.lifecycle_transitions:
        return (NO,)
    return ("remote tiers",) if profile.remote_tiers else (YES,)


def _binds(profile: Profile) -> tuple[str, ...]:
    return (profile.policy_binds,) if profile.bucket_policy else (NO,)


PROBES = (
    Probe(
        "storage classes",
        lambda p: (copy_probes.listed(c for c in copy_probes.GENERAL_CLASSES if c in p.storage_classes),),
        copy_probes.classes,
    ),
    Probe("self-copy to change class needs", lambda p: (p.self_copy_directive,), copy_probes.self_copy),
    Probe("self-copy keeps SSE unasked", flag("self_copy_keeps_encryption"), copy_probes.self_copy_encryption),
    Probe("self-copy with REPLACE keeps tags", flag("self_copy_keeps_tags"), copy_probes.self_copy_tags),
    Probe("multipart ETag survives a self-copy", flag("etag_survives_self_copy"), copy_probes.self_copy_etag),
    Probe("copy keeps SSE unasked", flag("copy_keeps_encryption"), copy_probes.copy_encryption),
    Probe("copy keeps the class unasked", flag("copy_keeps_class"), copy_probes.copy_class),
    Probe("encryption sse-s3", _takes_mode("sse-s3"), copy_probes.encryption(SseS3())),
    Probe("encryption sse-kms", _takes_mode("sse-kms"), copy_probes.encryption(SseKms())),
    Probe("encryption dsse-kms", _takes_mode("dsse-kms"), copy_probes.encryption(SseKms(dsse=True))),
    Probe("encryption sse-c", _takes_customer_keys, copy_probes.encryption(SseC(b"0123456789abcdef" * 2))),
    Probe("PUT If-None-Match", flag("put_if_none_match"), object_probes.conditional("put_object", IfNoneMatch="*")),
    Probe(
        "PUT If-Match", flag("put_if_match"), object_probes.conditional("put_object", IfMatch=object_probes.WRONG_ETAG)
    ),
    Probe("PUT If-Match on a missing key", lambda p: (str(p.put_if_match_missing),), object_probes.if_match_missing),
    Probe(
        "complete an upload If-None-Match", flag("complete_if_none_match"), object_probes.completion(IfNoneMatch="*")
    ),
    Probe(
        "complete an upload If-Match",
        flag("complete_if_match"),
        object_probes.completion(IfMatch=object_probes.WRONG_ETAG),
    ),
    Probe(
        "copy source If-Match",
        flag("copy_source_if_match"),
        object_probes.conditional("copy_object", CopySourceIfMatch=object_probes.WRONG_ETAG),
    ),
    Probe("copy If-None-Match", flag("copy_if_none_match"), object_probes.conditional("copy_object", IfNoneMatch="*")),
    Probe(
        "copy If-Match on the destination",
        flag("copy_if_match"),
        object_probes.conditional("copy_object", IfMatch=object_probes.WRONG_ETAG),
    ),
    Probe(
        "GET If-Match", flag("get_if_match"), object_probes.conditional("get_object", IfMatch=object_probes.WRONG_ETAG)
    ),
    Probe(
        "DELETE If-Match",
        flag("delete_if_match"),
        object_probes.conditional("delete_object", IfMatch=object_probes.WRONG_ETAG),
    ),
    Probe("complete a finished upload again", flag("complete_again"), object_probes.complete_again),
    Probe("incomplete uploads by prefix", flag("uploads_by_prefix"), object_probes.uploads_by_prefix),
    Probe(
        "rule: abort incomplete uploads",
        flag("abort_uploads_rule"),
        bucket_probes.lifecycle({"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7}}),
        "bucket",
    ),
    Probe(
        "rule: expire by a past date",
        flag("expiration_date_rule"),
        bucket_probes.lifecycle({"Expiration": {"Date": datetime(2020, 1, 1, tzinfo=UTC)}}),
        "bucket",
    ),
    Probe("rule: transitions", _moves, bucket_probes.lifecycle_transition, "bucket"),
    Probe("RestoreObject", flag("restore"), object_probes.restore),
    Probe("public access block", flag("public_access_block"), bucket_probes.public_access_block, "bucket"),
    Probe("ownership controls", flag("ownership_controls"), bucket_probes.ownership, "bucket"),
    Probe("bucket CORS", flag("bucket_cors"), bucket_probes.cors, "bucket"),
    Probe("a bucket's policy binds", _binds, bucket_probes.policy, "bucket"),
    Probe("bucket default encryption", flag("default_encryption"), bucket_probes.default_encryption, "bucket"),
    Probe(
        "PUT makes a missing bucket",
        lambda p: (YES, NO) if p.put_creates_bucket else (NO,),
        bucket_probes.put_creates_bucket,
    ),
    Probe("versions and undo", flag("versions"), object_probes.versions, "versions"),
    Probe(
        "a repeated delete adds a marker",
        flag("repeated_delete_adds_marker"),
        object_probes.repeated_delete,
        "versions",
    ),
    Probe("empty prefixes stay listed", flag("empty_prefixes_stay"), object_probes.empty_prefix),
    Probe("keys below an object are hidden", flag("keys_below_objects_hidden"), object_probes.hidden_key),
    Probe("keys with backslashes", flag("backslashes"), object_probes.backslash),
    Probe("presigned URLs", constant(YES), connection_probes.presign),
    Probe("newer checksums", flag("newer_checksums"), connection_probes.checksums),
    Probe("the clocks agree", constant(YES), connection_probes.clock),
    Probe("TLS", constant(), connection_probes.tls),
    Probe("the client's region", constant(YES), connection_probes.region),
)
"""All rows, in the order in which they are shown."""
