"""Small objects that are sent in the background: many at once, from any thread, in bounded memory."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Self

from tierlake.connector.client.concurrency import begun
from tierlake.connector.objects.metadata import object_path

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Mapping

    from tierlake.connector.client.store import Store

__all__ = ["ObjectSender"]


class ObjectSender:
    """Sends objects, each in one request; use as a context manager, which waits for the requests under way.

    Attributes:
        held_bytes: The bytes that wait for their request's end.
    """

    def __init__(self, store: Store, loop: AbstractEventLoop, *, at_once: int, max_bytes: int) -> None:
        """Send nothing yet.

        Args:
            store: Writes the objects, under its write policy.
            loop: Runs in another thread, and makes the requests.
            at_once: The maximum number of requests under way.
            max_bytes: The maximum number of bytes in them; a larger object is sent alone.
        """
        self._store = store
        self._loop = loop
        self._at_once = at_once
        self._max_bytes = max_bytes
        self._under_way = 0
        self._changed = threading.Condition()
        self.held_bytes = 0

    def __enter__(self) -> Self:
        """Send nothing yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for the requests under way: one that is cut off leaves open whether it took effect."""
        with self._changed:
            self._changed.wait_for(lambda: not self._under_way)

    def send(self, path: str, data: bytes, metadata: Mapping[str, str] | None = None) -> Callable[[], None]:
        """Send an object as soon as there is room; until then the caller waits.

        Args:
            path: `bucket/key`.
            data: The bytes.
            metadata: User metadata of the object.

        Returns:
            Waits for the end of the request, and raises its error.
        """
        size = len(data)
        with self._changed:
            self._changed.wait_for(lambda: self._has_room(size))
            self._under_way += 1
            self.held_bytes += size
        try:
            sending = begun(self._loop, self._put(path, data, metadata))
        except BaseException:
            self._end(size)
            raise
        sending.add_done_callback(lambda _: self._end(size))
        return sending.result

    def _has_room(self, size: int) -> bool:
        if not self._under_way:
            return True
        return self._under_way < self._at_once and self.held_bytes + size <= self._max_bytes

    def _end(self, size: int) -> None:
        with self._changed:
            self._under_way -= 1
            self.held_bytes -= size
            self._changed.notify_all()

    async def _put(self, path: str, data: bytes, metadata: Mapping[str, str] | None) -> None:
        bucket, key = object_path(self._store, path)
        options: dict[str, Any] = {"Metadata": dict(metadata)} if metadata else {}
        await self._store.call("put_object", Bucket=bucket, Key=key, Body=data, **options)
