"""Incomplete multipart uploads, which a killed writer leaves: invisible, but billed."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tierlake.connector.ages import parse_age
from tierlake.connector.client.concurrency import outcomes
from tierlake.connector.errors import AccessDenied, DeletionFailed, ObjectNotFound
from tierlake.connector.objects.metadata import server_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from datetime import datetime

    from tierlake.connector.client.store import Store

_AT_ONCE = 32
_CLOCK_RESOLUTION = timedelta(seconds=1)
"""The Date header has whole seconds; the start of an upload may have fractions."""


@dataclass(frozen=True)
class IncompleteUpload:
    """An upload that was begun and neither completed nor aborted.

    Args:
        path: `bucket/key` of its object.
        upload_id: The upload's id.
        initiated: The time of its creation, by the server's clock.
    """

    path: str
    upload_id: str
    initiated: datetime


async def abort_incomplete_uploads(
    store: Store, path: str, *, older_than: str | timedelta, dry_run: bool = False
) -> list[IncompleteUpload]:
    """Abort uploads that nobody will complete; their parts are deleted.

    Args:
        store: The store.
        path: A bucket, or a prefix in it.
        older_than: The least age of these uploads, by the server's clock: a live upload may be slow.
        dry_run: Abort nothing.

    Returns:
        The uploads that were, or would be, aborted.

    Raises:
        BucketNotFound: There is no such bucket.
        InvalidSetting: The age is invalid.
        DeletionFailed: Some could not be aborted; `failures` has the reasons.
    """
    age = parse_age(older_than)
    bucket, prefix, _ = store.split_path(path)
    limit = await server_time(store, path) + _CLOCK_RESOLUTION - age
    old = [upload async for upload in _uploads(store, bucket, prefix) if upload.initiated <= limit]
    if not dry_run:
        await abort_uploads(store, old)
    return old


async def abort_uploads(store: Store, uploads: Iterable[IncompleteUpload]) -> None:
    """Abort uploads; those that no longer exist are skipped.

    Args:
        store: The store.
        uploads: The uploads.

    Raises:
        AccessDenied: We may abort none of them.
        DeletionFailed: Some could not be aborted; `failures` has the reasons.
    """

    async def abort(upload: IncompleteUpload) -> None:
        bucket, _, key = upload.path.partition("/")
        with suppress(ObjectNotFound):
            await store.send("abort_multipart_upload", Bucket=bucket, Key=key, UploadId=upload.upload_id)

    incomplete = list(uploads)
    answers = await outcomes(abort, incomplete, at_once=_AT_ONCE)
    errors = {
        f"{upload.path}?uploadId={upload.upload_id}": answer
        for upload, answer in zip(incomplete, answers, strict=True)
        if answer is not None
    }
    denied = [error for error in errors.values() if isinstance(error, AccessDenied)]
    if incomplete and len(denied) == len(incomplete):
        raise denied[0]
    if errors:
        failures = {name: str(error) for name, error in errors.items()}
        raise DeletionFailed(f"{len(errors):,} of {len(incomplete):,} uploads were not aborted", failures)


async def _uploads(store: Store, bucket: str, prefix: str) -> AsyncIterator[IncompleteUpload]:
    async for page in upload_pages(store, bucket, prefix):
        for upload in page:
            yield upload


async def upload_pages(store: Store, bucket: str, prefix: str) -> AsyncIterator[list[IncompleteUpload]]:
    """Incomplete uploads whose keys begin with a prefix, a page at a time."""
    profile = await store.profile()
    # If a server does not list uploads by prefix, the whole bucket is listed.
    options = {"Prefix": prefix} if prefix and profile.uploads_by_prefix else {}
    markers: dict[str, str] = {}
    while True:
        page = await store.send("list_multipart_uploads", Bucket=bucket, **options, **markers)
        yield [
            IncompleteUpload(f"{bucket}/{upload['Key']}", upload["UploadId"], upload["Initiated"])
            for upload in page.get("Uploads", ())
            if upload["Key"].startswith(prefix)
        ]
        if not page.get("IsTruncated"):
            return
        markers = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}


async def stored_parts_bytes(store: Store, upload: IncompleteUpload) -> int:
    """The size of the parts that an upload has so far, all of which are billed.

    Raises:
        ObjectNotFound: It was completed or aborted meanwhile.
        AccessDenied: We may not list its parts.
    """
    bucket, _, key = upload.path.partition("/")
    size, marker = 0, dict[str, Any]()
    while True:
        page = await store.send("list_parts", Bucket=bucket, Key=key, UploadId=upload.upload_id, **marker)
        size += sum(int(part["Size"]) for part in page.get("Parts", ()))
        if not page.get("IsTruncated"):
            return size
        marker = {"PartNumberMarker": page["NextPartNumberMarker"]}
