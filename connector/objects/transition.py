"""Changes of an object's storage class in place: the key, the bytes and the metadata stay.

There are two ways, and a server's profile names its own. A *self-copy* rewrites the object with another
class (`transition`). A *tag* is set, and a lifecycle rule of the bucket moves the object to a remote
tier (`tag_tier`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from tierlake.connector.client.carried import kept_content, kept_parameters
from tierlake.connector.errors import (
    EncryptionIgnored,
    PreconditionFailed,
    UnsupportedByServer,
)
from tierlake.connector.objects.audit import encryption_fault
from tierlake.connector.objects.comparison import class_of, differences, refuse_differences
from tierlake.connector.objects.copied_version import delete_source_version, marked, tags_of, version_of
from tierlake.connector.objects.copy import COPY_BYTES_MAX, Source, copy_in_parts, look_at, part_ranges
from tierlake.connector.objects.metadata import unquoted
from tierlake.connector.objects.object_lock import check_replaceable
from tierlake.connector.objects.versions import give_way, versions_of
from tierlake.connector.policy.encryption import ENCRYPTION_PARAMETERS
from tierlake.connector.policy.rules import STANDARD

if TYPE_CHECKING:
    from datetime import datetime

    from tierlake.connector.client.store import Store
    from tierlake.connector.policy.encryption import Encryption
    from tierlake.connector.profiles import Profile

logger = logging.getLogger("tierlake.connector")

_WRITTEN_BACK_MAX = 64 << 20
TIER_TAG = "tier"
"""The tag on which a bucket's lifecycle rule moves objects, see `tierlake.connector.bucket.lifecycle`."""
_POLL_SECONDS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.5)


@dataclass(frozen=True)
class Written:
    """The object that a self-copy wrote, as listings show it.

    Args:
        etag: Its ETag, without quotes.
        modified: When it was written, by the server's clock.
    """

    etag: str
    modified: datetime


@dataclass(frozen=True)
class TransitionResult:
    """What a transition did.

    Args:
        path: `bucket/key`.
        from_class: The storage class before.
        to_class: The storage class that the object reports now.
        changed: False if the object was in that class already.
        size: Bytes.
        deleted_version: The previous version of the bytes, which was deleted; None if the bucket keeps no
            versions.
        pending: The object is tagged, but the server has not moved it yet.
        tagged: This call set the tag.
        written: The object that the copy wrote; None if nothing was copied, or if the server does not confirm
            that its present object is that copy.
    """

    path: str
    from_class: str
    to_class: str
    changed: bool
    size: int
    deleted_version: str | None = None
    pending: bool = False
    tagged: bool = False
    written: Written | None = None


async def transition(
    store: Store, path: str, storage_class: str, *, if_match: str | None = None, exclusive: bool = False
) -> TransitionResult:
    """Move an object to another storage class by copying it onto itself.

    Metadata, content headers, tags and encryption stay. The copy has the condition that the object was not
    replaced since the look at it, and is verified afterwards. On a versioned bucket the source version is
    deleted once the copy is verified. A legal hold is kept.

    Args:
        store: The store.
        path: The object.
        storage_class: The class to move it to.
        if_match: The ETag that it must have.
        exclusive: Others may replace the object at any moment, and their writes must never be overwritten. If a copy
            could do that on this server, and the bucket keeps no versions, small objects are read and written back
            under a condition, and larger ones are copied in parts, with the condition on the last request.

    Returns:
        What was done; `changed` is False if the object was in that class already.

    Raises:
        UnsupportedByServer: The server has no such class; or the copy has to be exclusive, and the server has no
            condition for a copy of that size.
        PreconditionFailed: The object is, or became meanwhile, another one.
        ObjectNotFound: There is no such object.
        RequestRefused: A retention of Object Lock keeps the version that would be copied.
        ServerError: The copy differs from its source.
    """
    profile = await store.profile()
    profile.check_class(storage_class, key=path)
    source = await look_at(store, path)
    _check_etag(source, if_match)
    before, name = class_of(dict(source.head)), f"{source.bucket}/{source.key}"
    size = source.head["ContentLength"]
    tags, left = (None, None) if await _keeps_tags(store, source, profile) else await tags_of(store, source)
    if before == storage_class:
        return TransitionResult(name, before, before, changed=False, size=size, deleted_version=left)
    kept = kept_parameters(source.head, profile, _held(store, source)) | {"StorageClass": storage_class}
    refused = copied = None
    try:
        copied = await _self_copy(store, source, profile, kept, tags, exclusive=exclusive)
    except PreconditionFailed as error:
        if not error.after_lost_reply:
            raise
        refused = error  # if the copy was made, it may have another ETag
    head = await store.send("head_object", Bucket=source.bucket, Key=source.key)
    if refused and differences(source, head, storage_class):
        raise refused
    refuse_differences(source, differences(source, head, storage_class))
    deleted = await delete_source_version(store, source, head, tags)
    store.invalidate(name)
    return TransitionResult(
        name, before, storage_class, changed=True, size=size, deleted_version=deleted, written=_written(copied, head)
    )


async def reencrypt(store: Store, path: str, *, if_match: str | None = None) -> TransitionResult:
    """Give an object the encryption of the write policy, by a self-copy.

    Metadata, content headers, tags and the storage class stay. On a versioned bucket the source version is deleted once
    the copy is verified.

    Args:
        store: The store.
        path: The object.
        if_match: The ETag that it must have.

    Returns:
        What was done; `changed` is False if the encryption was right already.

    Raises:
        PreconditionFailed: The object is, or became meanwhile, another one.
        ObjectNotFound: There is no such object.
        EncryptionIgnored: The server did not encrypt it.
    """
    source = await look_at(store, path)
    profile = await store.profile()
    expected = _held(store, source)
    storage_class, name = class_of(dict(source.head)), f"{source.bucket}/{source.key}"
    size = source.head["ContentLength"]
    tags, left = await tags_of(store, source)
    if encryption_fault(source.head, expected) is None:
        return TransitionResult(name, storage_class, storage_class, changed=False, size=size, deleted_version=left)
    _check_etag(source, if_match)
    kept = kept_parameters(source.head, profile, expected)
    others = {name: value for name, value in kept.items() if name not in ENCRYPTION_PARAMETERS}
    copied = await _self_copy(store, source, profile, others | expected.headers(), tags)
    head = await store.send("head_object", Bucket=source.bucket, Key=source.key)
    if (fault := encryption_fault(head, expected)) is not None:
        raise EncryptionIgnored(f"After the copy it is {fault}", bucket=source.bucket, key=source.key)
    deleted = await delete_source_version(store, source, head, tags)
    store.invalidate(name)
    return TransitionResult(
        name,
        storage_class,
        storage_class,
        changed=True,
        size=size,
        deleted_version=deleted,
        written=_written(copied, head),
    )


async def tag_tier(
    store: Store,
    path: str,
    tier: str,
    *,
    at_once: bool = False,
    wait_seconds: float = 0.0,
    if_match: str | None = None,
) -> TransitionResult:
    """Move an object to a remote tier, or back, by the tag `tier`.

    Args:
        store: The store.
        path: The object.
        tier: A tier's name, such as `cold`; `hot` brings the object back.
        at_once: Rewrite the object with the tag, and the server moves it at once. The copy waits up to half a
            minute for a stalled reader. Otherwise only the tag is set, and the server moves the object at
            its next scan (about a minute). Bringing an object back always takes a copy.
        wait_seconds: The longest wait for the object to report the new class.
        if_match: The ETag that it must have.

    Returns:
        What was done; `pending` if the server has not moved the object yet.

    Raises:
        PreconditionFailed: The object is, or became meanwhile, another one.
        ObjectNotFound: There is no such object.
    """
    profile = await store.profile()
    target = profile.tier_classes.get(tier, tier.upper())
    source = await look_at(store, path)
    _check_etag(source, if_match)
    before, name = class_of(dict(source.head)), f"{source.bucket}/{source.key}"
    size = source.head["ContentLength"]
    tags, deleted = await tags_of(store, source)
    expected = {**tags, TIER_TAG: tier}
    if before == target and tags == expected:
        return TransitionResult(name, before, before, changed=False, size=size, deleted_version=deleted)
    written = None
    head = dict(source.head)
    is_tagged = tags == expected
    if before == target or not (at_once or target == STANDARD):
        tag_set = [{"Key": key, "Value": value} for key, value in expected.items()]
        if not is_tagged:
            which = {"Bucket": source.bucket, "Key": source.key}
            await store.send("put_object_tagging", **which, Tagging={"TagSet": tag_set})
    else:
        kept = kept_parameters(source.head, profile, _held(store, source))
        kept["StorageClass"] = target if target in profile.storage_classes else STANDARD
        copied = await _self_copy(store, source, profile, kept, expected)
        head = await store.send("head_object", Bucket=source.bucket, Key=source.key)
        refuse_differences(source, [name for name in differences(source, head, target) if name in _ENCRYPTION])
        written = _written(copied, head)
        deleted = await delete_source_version(store, source, head, expected)
    head = await _await_class(store, source, head, target, wait_seconds)
    store.invalidate(name)
    after = class_of(head)
    return TransitionResult(
        name,
        before,
        after,
        changed=after != before,
        size=size,
        deleted_version=deleted,
        pending=after != target,
        tagged=not is_tagged,
        written=written,
    )


def _held(store: Store, source: Source) -> Encryption:
    return store.policy.for_key(source.bucket, source.key).encryption


async def _keeps_tags(store: Store, source: Source, profile: Profile) -> bool:
    """Whether a self-copy that names no tags keeps them, and none of them is our mark of an interrupted copy."""
    is_versioned = source.head.get("VersionId") or await store.keeps_versions(source.bucket)
    return profile.self_copy_keeps_tags and not is_versioned


def _check_etag(source: Source, if_match: str | None) -> None:
    if if_match is not None and unquoted(if_match) != unquoted(source.head["ETag"]):
        raise PreconditionFailed("The object is another one by now", bucket=source.bucket, key=source.key)


async def _self_copy(
    store: Store,
    source: Source,
    profile: Profile,
    kept: dict[str, Any],
    tags: dict[str, str] | None,
    *,
    exclusive: bool = False,
) -> str | None:
    """Copy an object onto itself; return the copy's ETag without quotes, if the response has one.

    Args:
        store: The store.
        source: The object as it was seen.
        profile: The server's profile.
        kept: The parameters of the copy.
        tags: Its tags; None leaves those that the object has.
        exclusive: See `transition`.

    Raises:
        PreconditionFailed: The object was replaced since the look at it; the replacement stays.
    """
    target = {"Bucket": source.bucket, "Key": source.key}
    keeps_versions = await store.keeps_versions(source.bucket)
    before = await versions_of(store, source.bucket, source.key) if keeps_versions else []
    check_replaceable(source.head, source.bucket, source.key)
    size, limit, condition = source.head["ContentLength"], COPY_BYTES_MAX, {"IfMatch": source.head["ETag"]}
    if exclusive and not keeps_versions and not (profile.copy_if_match and profile.copy_if_match_holds):
        limit = _WRITTEN_BACK_MAX
        if size <= limit:
            return await _write_back(store, source, profile, kept, await _known(tags, store, source))
    if size > limit:
        tags = await marked(store, source, await _known(tags, store, source))
        if exclusive and not keeps_versions:
            _check_parts_are_exclusive(source, profile)
        tagging = {"Tagging": urlencode(tags)} if tags else {}
        completed = await copy_in_parts(
            store,
            source,
            lambda: store.send("create_multipart_upload", **target, **kept, **tagging),
            (source.bucket, source.key),
            ranges=part_ranges(size),
            condition=condition if profile.complete_if_match else None,
        )
        if keeps_versions:
            await give_way(store, source.bucket, source.key, before, version_of(completed))
        return _etag_in(completed)
    options = {**kept, "MetadataDirective": profile.self_copy_directive}
    if profile.self_copy_directive == "COPY":
        for name in kept_content(source.head):
            options.pop(name, None)
    if tags is not None:
        options |= {"Tagging": urlencode(await marked(store, source, tags)), "TaggingDirective": "REPLACE"}
    response = await store.send_in_place(
        "copy_object",
        **target,
        **options,
        **source.condition(profile),
        **source.keys(),
        CopySource=source.reference,
        **(condition if profile.copy_if_match else {}),
    )
    if keeps_versions:  # a server may check conditions before it waits for other writes, and write after those
        await give_way(store, source.bucket, source.key, before, version_of(response))
    return _etag_in(response.get("CopyObjectResult"))


async def _known(tags: dict[str, str] | None, store: Store, source: Source) -> dict[str, str]:
    """The tags for a request that needs all of them."""
    return tags if tags is not None else (await tags_of(store, source))[0]


async def _write_back(
    store: Store, source: Source, profile: Profile, kept: dict[str, Any], tags: dict[str, str]
) -> str:
    """A self-copy by a GET and a PUT, on the condition that nobody has replaced the object."""
    target, condition = {"Bucket": source.bucket, "Key": source.key}, {"IfMatch": source.head["ETag"]}
    response = await store.send("get_object", **target, **(condition if profile.get_if_match else {}))
    async with response["Body"] as body:
        data = await body.read()
    written = await store.send_in_place("put_object", **target, **kept, **condition, Body=data, Tagging=urlencode(tags))
    return unquoted(written["ETag"])


def _check_parts_are_exclusive(source: Source, profile: Profile) -> None:
    if profile.complete_if_match and (profile.sse_c_part_copies or "SSECustomerAlgorithm" not in source.head):
        return
    what = f"moving {source.head['ContentLength']:,} bytes only if nobody replaces the object meanwhile"
    place = {"bucket": source.bucket, "key": source.key}
    raise UnsupportedByServer(profile.name, what, profile.alternative("delete_if_match"), **place)


def _etag_in(response: dict[str, Any] | None) -> str | None:
    etag = (response or {}).get("ETag")
    return unquoted(etag) if etag else None


def _written(copied: str | None, head: dict[str, Any]) -> Written | None:
    """The copy, if it is the server's present object: another writer's has another ETag, or equal bytes."""
    etag, modified = unquoted(str(head.get("ETag") or "")), head.get("LastModified")
    return Written(etag, modified) if copied and etag == copied and modified is not None else None


_ENCRYPTION = frozenset({"ServerSideEncryption", "SSECustomerAlgorithm"})


async def _await_class(
    store: Store, source: Source, head: dict[str, Any], target: str, seconds: float
) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    waits = iter(_POLL_SECONDS)
    wait = next(waits)
    while class_of(head) != target and time.monotonic() < deadline:
        await asyncio.sleep(wait)
        wait = next(waits, wait)
        head = await store.send("head_object", Bucket=source.bucket, Key=source.key)
    return head
