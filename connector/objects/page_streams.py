"""Listings of any length in the memory of two pages: objects, versions and incomplete uploads, for blocking code.

While the caller works on a page, the next one is on its way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from tierlake.connector.client.concurrency import begun, blocking, outcomes
from tierlake.connector.objects.metadata import version_pages
from tierlake.connector.objects.multipart import stored_parts_bytes, upload_pages

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import AsyncIterator, Iterable, Iterator

    from tierlake.connector.client.concurrency import Failure
    from tierlake.connector.client.store import Store
    from tierlake.connector.objects.multipart import IncompleteUpload

__all__ = ["PageStreams"]

_AT_ONCE = 8

T = TypeVar("T")


class PageStreams:
    """The verbs, as methods of a filesystem."""

    store: Store
    loop: Any

    def object_pages(self, path: str, *, start_after: str = "") -> Iterator[list[dict[str, Any]]]:
        """The objects below a bucket or a prefix as the store lists them, a page at a time.

        Tables answer nothing here, and nothing is cached.

        Args:
            path: `bucket`, or `bucket/prefix`: every key that begins with it counts, so end a folder with a slash.
            start_after: Only keys after this one.

        Yields:
            Botocore's entries: `Key`, `Size`, `LastModified` and, but for the standard one, `StorageClass`.

        Raises:
            BucketNotFound: There is no such bucket.
            AccessDenied: We may not list there.
        """
        bucket, _, prefix = path.partition("/")
        return _streamed(self.loop, _object_pages(self.store, bucket, prefix, start_after))

    def version_pages(self, path: str) -> Iterator[dict[str, Any]]:
        """Versions and delete markers of a bucket or below a prefix, a page at a time.

        Args:
            path: As for `object_pages`.

        Yields:
            Botocore's pages: `Versions` and `DeleteMarkers`.

        Raises:
            BucketNotFound: There is no such bucket.
            AccessDenied: We may not list versions.
        """
        bucket, _, prefix = path.partition("/")
        return _streamed(self.loop, version_pages(self.store, bucket, prefix))

    def upload_pages(self, path: str) -> Iterator[list[IncompleteUpload]]:
        """Incomplete uploads to a bucket or below a prefix, a page at a time.

        Args:
            path: As for `object_pages`.

        Raises:
            BucketNotFound: There is no such bucket.
            AccessDenied: We may not list uploads.
        """
        bucket, _, prefix = path.partition("/")
        return _streamed(self.loop, upload_pages(self.store, bucket, prefix))

    def stored_parts_bytes(self, uploads: Iterable[IncompleteUpload]) -> list[int | Failure]:
        """The bytes that each of some incomplete uploads has stored, or the error in their place."""

        async def size(upload: IncompleteUpload) -> int:
            return await stored_parts_bytes(self.store, upload)

        return blocking(self.loop, outcomes(size, uploads, at_once=_AT_ONCE))


async def _object_pages(
    store: Store, bucket: str, prefix: str, start_after: str
) -> AsyncIterator[list[dict[str, Any]]]:
    place: dict[str, str] = {"StartAfter": start_after} if start_after else {}
    while True:
        page = await store.call("list_objects_v2", Bucket=bucket, Prefix=prefix, **place)
        yield page.get("Contents", [])
        if not page.get("IsTruncated"):
            return
        place = {"ContinuationToken": page["NextContinuationToken"]}


def _streamed(loop: AbstractEventLoop, pages: AsyncIterator[T]) -> Iterator[T]:
    async def following() -> T | None:
        return await anext(pages, None)

    page = begun(loop, following())
    try:
        while (current := page.result()) is not None:
            page = begun(loop, following())
            yield current
    finally:
        page.cancel()
