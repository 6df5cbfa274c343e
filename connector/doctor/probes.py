"""What a server does, found out by trying: one function a fact, over a place of its own.

A probe answers in a word or two, most with ``yes`` or ``no``. Beside it stands what the profile says, so that
:mod:`connector.doctor.report` can compare. Requests go to the client as they are: no policy, no guards, no retries.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from botocore import exceptions as boto
from botocore.awsrequest import AWSRequest
from botocore.httpsession import URLLib3Session

from tierlake.connector.doctor import bucket_probes
from tierlake.connector.doctor.place import FIRST, NO, PRECONDITION, YES, code_of, status_of
from tierlake.connector.policy.encryption import SseC, SseKms, SseS3

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from tierlake.connector.doctor.place import Place
    from tierlake.connector.policy.encryption import Encryption
    from tierlake.connector.profiles import Profile

_GENERAL_CLASSES = (
    "STANDARD",
    "REDUCED_REDUNDANCY",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER",
    "DEEP_ARCHIVE",
    "GLACIER_IR",
)
"""Classes of general-purpose buckets: the other ones belong to buckets of another kind."""
_WRONG_ETAG = '"00000000000000000000000000000000"'
_REPLACE: dict[str, Any] = {"MetadataDirective": "REPLACE", "Metadata": {"a": "b"}}
LARGEST_SKEW_SECONDS = 300
"""AWS refuses 15 minutes; https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html, RequestTimeTooSkewed"""


@dataclass(frozen=True)
class Probe:
    """One row.

    Args:
        what: The fact, as the row's heading.
        says: What the profile says of it: answers that agree; none where it says nothing.
        does: What the server does.
        needs: ``prefix`` where a prefix in any bucket will do, ``bucket`` where the bucket must be ours,
            ``versions`` where it must be ours and versioned.
    """

    what: str
    says: Callable[[Profile], tuple[str, ...]]
    does: Callable[[Place], Awaitable[str]]
    needs: Literal["prefix", "bucket", "versions"] = "prefix"


def flag(name: str) -> Callable[[Profile], tuple[str, ...]]:
    """What a field that is true or false says."""
    return lambda profile: (YES if getattr(profile, name) else NO,)


def constant(*answers: str) -> Callable[[Profile], tuple[str, ...]]:
    """What holds on every server, or what nobody says."""
    return lambda _profile: answers


# -- classes and copies --------------------------------------------------------------------------------


async def classes(place: Place) -> str:
    """Classes that a PUT may ask for."""
    taken = [
        name for name in _GENERAL_CLASSES if await place.takes("put_object", Key=place.key(), StorageClass=name) == YES
    ]
    return _listed(taken)


def _listed(names: Iterable[str]) -> str:
    listed = tuple(names)
    return "all" if listed == _GENERAL_CLASSES else ", ".join(listed)


async def _other_class(place: Place) -> str:
    for name in ("STANDARD_IA", "REDUCED_REDUNDANCY"):
        if await place.takes("put_object", Key=place.key(), StorageClass=name) == YES:
            return name
    return "STANDARD"


async def self_copy(place: Place) -> str:
    """The directive that a self-copy to another class needs."""
    key, other = await place.put(), await _other_class(place)
    said = {"Key": key, "CopySource": place.source(key), "StorageClass": other}
    return "COPY" if await place.takes("copy_object", **said) == YES else "REPLACE"


async def self_copy_encryption(place: Place) -> str:
    """Whether a self-copy that says nothing keeps SSE-S3."""
    key = await place.put(ServerSideEncryption="AES256")
    await place.ask(
        "copy_object", Key=key, CopySource=place.source(key), MetadataDirective="REPLACE", Metadata={"a": "b"}
    )
    return await _encrypted(place, key)


async def copy_encryption(place: Place) -> str:
    """Whether a copy to another key that says nothing keeps SSE-S3."""
    key, copy = await place.put(ServerSideEncryption="AES256"), place.key()
    await place.ask("copy_object", Key=copy, CopySource=place.source(key))
    return await _encrypted(place, copy)


async def copy_class(place: Place) -> str:
    """Whether a copy to another key that says nothing keeps the class."""
    other, copy = await _other_class(place), place.key()
    key = await place.put(StorageClass=other)
    await place.ask("copy_object", Key=copy, CopySource=place.source(key))
    return YES if (await place.ask("head_object", Key=copy)).get("StorageClass") == other else NO


async def self_copy_tags(place: Place) -> str:
    """Whether a self-copy with REPLACE keeps the tags."""
    key = await place.put(Tagging="a=b")
    await place.ask(
        "copy_object", Key=key, CopySource=place.source(key), MetadataDirective="REPLACE", Metadata={"a": "b"}
    )
    return YES if (await place.ask("get_object_tagging", Key=key))["TagSet"] else NO


async def _encrypted(place: Place, key: str) -> str:
    return YES if (await place.ask("head_object", Key=key)).get("ServerSideEncryption") else NO


async def self_copy_etag(place: Place) -> str:
    """Whether a multipart object keeps its ETag through a self-copy."""
    key = place.key()
    before = (await _upload(place, key))["ETag"]
    await place.ask("copy_object", Key=key, CopySource=place.source(key), **_REPLACE)
    return YES if (await place.ask("head_object", Key=key))["ETag"] == before else NO


# -- encryption ----------------------------------------------------------------------------------------


def encryption(value: Encryption) -> Callable[[Place], Awaitable[str]]:
    """Whether an object is stored as encrypted as it was asked to be."""

    async def probe(place: Place) -> str:
        params = {**value.headers()}
        params.pop("BucketKeyEnabled", None)
        key = place.key()
        try:
            await place.ask("put_object", Key=key, Body=FIRST, **params)
            again = params if isinstance(value, SseC) else {}
            head = await place.ask("head_object", Key=key, **again)
        except boto.ClientError as error:
            return f"{NO}: {code_of(error)}"
        except boto.ParamValidationError:  # botocore itself sends no key in clear
            return f"{NO}: not over HTTP"
        name = "SSECustomerAlgorithm" if isinstance(value, SseC) else "ServerSideEncryption"
        return YES if head.get(name) == params[name] else f"{NO}: ignored"

    return probe


def _takes_mode(mode: str) -> Callable[[Profile], tuple[str, ...]]:
    return lambda profile: (YES if mode in profile.encryptions else NO,)


def _takes_customer_keys(profile: Profile) -> tuple[str, ...]:
    if "sse-c" not in profile.encryptions:
        return (NO,)
    return (YES,) if profile.sse_c_over_http else (YES, NO)


# -- conditions ----------------------------------------------------------------------------------------


def conditional(operation: str, **condition: str) -> Callable[[Place], Awaitable[str]]:
    """Whether a condition that does not hold stops a request on an existing object."""

    async def probe(place: Place) -> str:
        key = await place.put()
        source = {"CopySource": place.source(key)} if operation == "copy_object" else {}
        target = await place.put() if source else key
        return await place.refuses(operation, Key=target, **source, **condition)

    return probe


async def if_match_missing(place: Place) -> str:
    """The status of a PUT with If-Match where there is no object."""
    try:
        await place.ask("put_object", Key=place.key(), Body=FIRST, IfMatch=_WRONG_ETAG)
    except boto.ClientError as error:
        return str(status_of(error))
    return "ignored"


async def _upload(place: Place, key: str, **condition: str) -> dict[str, Any]:
    started = await place.ask("create_multipart_upload", Key=key)
    part = {"Key": key, "UploadId": started["UploadId"]}
    etag = (await place.ask("upload_part", **part, PartNumber=1, Body=FIRST))["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    done = await place.ask("complete_multipart_upload", **part, MultipartUpload=parts, **condition)
    return {**done, "again": {**part, "MultipartUpload": parts}}


def completion(**condition: str) -> Callable[[Place], Awaitable[str]]:
    """Whether the end of an upload honours a condition that does not hold."""

    async def probe(place: Place) -> str:
        key = await place.put()
        try:
            await _upload(place, key, **condition)
        except boto.ClientError as error:
            return YES if status_of(error) in PRECONDITION else f"{NO}: {code_of(error)}"
        return f"{NO}: ignored"

    return probe


async def complete_again(place: Place) -> str:
    """Whether a finished upload may be finished again."""
    done = await _upload(place, place.key())
    return await place.takes("complete_multipart_upload", **done["again"])


async def uploads_by_prefix(place: Place) -> str:
    """Whether incomplete uploads are found by prefix."""
    key = place.key()
    started = await place.ask("create_multipart_upload", Key=key)
    found = await place.ask("list_multipart_uploads", Prefix=key.rpartition("/")[0] + "/")
    await place.ask("abort_multipart_upload", Key=key, UploadId=started["UploadId"])
    return YES if found.get("Uploads") else NO


# -- buckets -------------------------------------------------------------------------------------------


def _moves(profile: Profile) -> tuple[str, ...]:
    if not profile.lifecycle_transitions:
        return (NO,)
    return ("remote tiers",) if profile.remote_tiers else (YES,)


async def restore(place: Place) -> str:
    """Whether archived objects can be asked back."""
    asked = {"Days": 1, "GlacierJobParameters": {"Tier": "Bulk"}}
    return await place.has("restore_object", Key=await place.put(), RestoreRequest=asked)


def _binds(profile: Profile) -> tuple[str, ...]:
    return (profile.policy_binds,) if profile.bucket_policy else (NO,)


async def versions(place: Place) -> str:
    """Delete marker, GET by version, undo by deleting the marker."""
    key = place.key()
    first = (await place.ask("put_object", Key=key, Body=FIRST)).get("VersionId")
    await place.ask("put_object", Key=key, Body=b"second")
    marker = (await place.ask("delete_object", Key=key)).get("VersionId")
    if first is None or marker is None:
        return NO
    async with (await place.ask("get_object", Key=key, VersionId=first))["Body"] as body:
        old = await body.read()
    await place.ask("delete_object", Key=key, VersionId=marker)
    async with (await place.ask("get_object", Key=key))["Body"] as body:
        return YES if (old, await body.read()) == (FIRST, b"second") else NO


async def repeated_delete(place: Place) -> str:
    """Whether deleting a deleted key of a versioned bucket adds a marker."""
    key = await place.put()
    for _ in range(2):
        await place.ask("delete_object", Key=key)
    listed = await place.ask("list_object_versions", Prefix=key)
    return YES if len(listed.get("DeleteMarkers", ())) > 1 else NO


async def empty_prefix(place: Place) -> str:
    """Whether a prefix whose last object is deleted stays in listings."""
    key = await place.put()
    await place.ask("delete_object", Key=key)
    listed = await place.ask("list_objects_v2", Prefix=place.prefix, Delimiter="/")
    folder = key.rpartition("/")[0] + "/"
    return YES if folder in {entry["Prefix"] for entry in listed.get("CommonPrefixes", ())} else NO


async def hidden_key(place: Place) -> str:
    """Whether a key below an existing object is missing from listings."""
    key = await place.put()
    below = f"{key}/below"
    if await place.takes("put_object", Key=below, Body=FIRST) != YES:
        return "refused"
    listed = await place.ask("list_objects_v2", Prefix=key)
    await place.ask("delete_object", Key=below)
    return NO if below in {entry["Key"] for entry in listed.get("Contents", ())} else YES


async def backslash(place: Place) -> str:
    """Whether a key with a backslash is stored under just that key."""
    key = place.key("a\\b")
    if await place.takes("put_object", Key=key, Body=FIRST) != YES:
        return "refused"
    listed = await place.ask("list_objects_v2", Prefix=key.partition("\\")[0])
    found = [entry["Key"] for entry in listed.get("Contents", ())]
    for one in found:
        await place.ask("delete_object", Key=one)
    return YES if found == [key] else NO


# -- the connection ------------------------------------------------------------------------------------


async def presign(place: Place) -> str:
    """Whether a presigned URL is served without credentials, and another key is not."""
    key = await place.put()
    url = await place.presigned(key)
    session = URLLib3Session(timeout=10)
    with contextlib.closing(session):
        good, other = (
            session.send(AWSRequest(method="GET", url=address).prepare()).status_code
            for address in (url, url.replace(key.rpartition("/")[2] + "?", "other?"))
        )
    return YES if (good, other) == (200, 403) else f"{NO}: {good}, another key {other}"


async def checksums(place: Place) -> str:
    """Which of the newer checksums a PUT may carry."""
    offered = ["CRC32", "SHA1", "SHA256"]  # CRC32C and CRC64NVME need the package awscrt
    taken = [
        name for name in offered if await place.takes("put_object", Key=place.key(), ChecksumAlgorithm=name) == YES
    ]
    return YES if taken == offered else f"{NO}: only {', '.join(taken) or 'none'}"


async def clock(place: Place) -> str:
    """Whether both clocks agree."""
    answer = await place.ask("head_bucket")
    date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    if not date:
        return "no Date header"
    seconds = (parsedate_to_datetime(date) - datetime.now(UTC)).total_seconds()
    return YES if abs(seconds) < LARGEST_SKEW_SECONDS else f"{NO}: the server is {seconds:+.0f} s from here"


async def tls(place: Place) -> str:
    """Whether requests are encrypted on their way."""
    return YES if urlsplit(place.endpoint).scheme == "https" else NO


async def region(place: Place) -> str:
    """Whether the bucket is in the region that requests are signed for."""
    found = (await place.ask("get_bucket_location")).get("LocationConstraint") or "us-east-1"
    return YES if found in {place.region, "auto"} else f"{NO}: the bucket is in {found}"


PROBES = (
    Probe("storage classes", lambda p: (_listed(c for c in _GENERAL_CLASSES if c in p.storage_classes),), classes),
    Probe("self-copy to change class needs", lambda p: (p.self_copy_directive,), self_copy),
    Probe("self-copy keeps SSE unasked", flag("self_copy_keeps_encryption"), self_copy_encryption),
    Probe("self-copy with REPLACE keeps tags", flag("self_copy_keeps_tags"), self_copy_tags),
    Probe("multipart ETag survives a self-copy", flag("etag_survives_self_copy"), self_copy_etag),
    Probe("copy keeps SSE unasked", flag("copy_keeps_encryption"), copy_encryption),
    Probe("copy keeps the class unasked", flag("copy_keeps_class"), copy_class),
    Probe("encryption sse-s3", _takes_mode("sse-s3"), encryption(SseS3())),
    Probe("encryption sse-kms", _takes_mode("sse-kms"), encryption(SseKms())),
    Probe("encryption dsse-kms", _takes_mode("dsse-kms"), encryption(SseKms(dsse=True))),
    Probe("encryption sse-c", _takes_customer_keys, encryption(SseC(b"0123456789abcdef" * 2))),
    Probe("PUT If-None-Match", flag("put_if_none_match"), conditional("put_object", IfNoneMatch="*")),
    Probe("PUT If-Match", flag("put_if_match"), conditional("put_object", IfMatch=_WRONG_ETAG)),
    Probe("PUT If-Match on a missing key", lambda p: (str(p.put_if_match_missing),), if_match_missing),
    Probe("complete an upload If-None-Match", flag("complete_if_none_match"), completion(IfNoneMatch="*")),
    Probe("complete an upload If-Match", flag("complete_if_match"), completion(IfMatch=_WRONG_ETAG)),
    Probe(
        "copy source If-Match", flag("copy_source_if_match"), conditional("copy_object", CopySourceIfMatch=_WRONG_ETAG)
    ),
    Probe("copy If-None-Match", flag("copy_if_none_match"), conditional("copy_object", IfNoneMatch="*")),
    Probe("copy If-Match on the destination", flag("copy_if_match"), conditional("copy_object", IfMatch=_WRONG_ETAG)),
    Probe("GET If-Match", flag("get_if_match"), conditional("get_object", IfMatch=_WRONG_ETAG)),
    Probe("DELETE If-Match", flag("delete_if_match"), conditional("delete_object", IfMatch=_WRONG_ETAG)),
    Probe("complete a finished upload again", flag("complete_again"), complete_again),
    Probe("incomplete uploads by prefix", flag("uploads_by_prefix"), uploads_by_prefix),
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
    Probe("RestoreObject", flag("restore"), restore),
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
    Probe("versions and undo", flag("versions"), versions, "versions"),
    Probe("a repeated delete adds a marker", flag("repeated_delete_adds_marker"), repeated_delete, "versions"),
    Probe("empty prefixes stay listed", flag("empty_prefixes_stay"), empty_prefix),
    Probe("keys below an object are hidden", flag("keys_below_objects_hidden"), hidden_key),
    Probe("keys with backslashes", flag("backslashes"), backslash),
    Probe("presigned URLs", constant(YES), presign),
    Probe("newer checksums", flag("newer_checksums"), checksums),
    Probe("the clocks agree", constant(YES), clock),
    Probe("TLS", constant(), tls),
    Probe("the client's region", constant(YES), region),
)
"""All rows, in the order in which they are shown."""
