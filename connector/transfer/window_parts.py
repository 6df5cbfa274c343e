"""What a window over a file is made of: parts of the file, what fetches them, and what expects them."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tierlake.connector.transfer.memory import Lease

RANGE_BYTES = 8 * 2**20
"""Longer ranges are fetched in parallel parts of this size."""
Range: TypeAlias = tuple[int, int]
"""The first byte, and the one after the last."""


class Receiver(Protocol):
    """Takes what was fetched."""

    def settle(self, part: Part, data: memoryview | None, error: BaseException | None) -> None:
        """Take the bytes of a part, or the error in their place; called in any thread."""


class Part:
    """A range of a file that is fetched, or being fetched.

    Attributes:
        start: The first byte.
        end: The byte after the last.
        data: The bytes; None while they are on their way.
        error: Why they will not come.
        lease: The memory that they take; None for a range that is not being fetched yet.
        ahead: They were fetched before they were needed.
        pinned: They stay until the file is closed.
        unread: How many of them were not read yet.
        asked: The number of the last read that concerned them.
        readers: The number of reads that wait for them.
        cancelled: Nobody needs them any more.
        task: What fetches them; for the source.
    """

    __slots__ = (
        "_receiver",
        "ahead",
        "asked",
        "cancelled",
        "data",
        "end",
        "error",
        "lease",
        "pinned",
        "readers",
        "start",
        "task",
        "unread",
    )

    def __init__(
        self, receiver: Receiver, start: int, end: int, lease: Lease | None = None, *, ahead: bool = False
    ) -> None:
        self._receiver = weakref.ref(receiver)
        self.start, self.end, self.lease, self.ahead = start, end, lease, ahead
        self.data: memoryview | None = None
        self.error: BaseException | None = None
        self.task: object = None
        self.pinned = self.cancelled = False
        self.unread = end - start
        self.asked = self.readers = 0

    @property
    def size(self) -> int:
        """The number of bytes."""
        return self.end - self.start

    @property
    def is_settled(self) -> bool:
        """Whether the bytes are there, or will not come."""
        return self.data is not None or self.error is not None

    def view(self, start: int, stop: int) -> memoryview:
        """The bytes of a range of the file; those of a part that is not here are no bytes at all."""
        return (self.data or memoryview(b""))[start - self.start : stop - self.start]

    def settle(self, data: memoryview | None, error: BaseException | None = None) -> None:
        """Take the bytes, or the error in their place; called once, in any thread."""
        receiver = self._receiver()
        if receiver is not None:
            receiver.settle(self, data, error)


class Source(Protocol):
    """Fetches ranges of one object."""

    is_parallel: bool
    """Whether it fetches in the background; if not, nothing is fetched ahead."""

    def begin(self, parts: Sequence[Part]) -> None:
        """Fetch each part, and settle it."""

    def check(self) -> None:
        """Raise if what was begun will never be settled, or not while this thread waits for it."""

    def cancel(self, parts: Sequence[Part], *, wait_seconds: float = 0) -> None:
        """Stop fetching parts that nobody needs any more."""

    def close(self) -> None:
        """Nothing more will be fetched."""


class Held(Protocol):
    """Bytes that are in memory."""

    def __call__(self, start: int, stop: int) -> memoryview | None:
        """The bytes of a range; None if they are not all held."""


class Forecast(Protocol):
    """Expects what will be read next. A window calls it under its lock."""

    @property
    def credit(self) -> int:
        """How many bytes may be fetched ahead before the first read, and after one that breaks with the forecast."""

    @property
    def credit_max(self) -> int:
        """How many bytes may be fetched ahead at most."""

    @property
    def growth(self) -> int:
        """How many bytes of credit one byte earns that was read as expected."""

    @property
    def streams(self) -> bool:
        """Whether bytes are read in order, so that those behind are no longer needed."""

    def observe(self, start: int, stop: int, held: Held) -> int | None:
        """Take note of a read.

        Returns:
            How many of its bytes were expected; None if it breaks with what was expected until now.
        """

    def widened(self, start: int, stop: int) -> int:
        """The end of the range to fetch for a read whose bytes are not held; at least `stop`."""

    def peek(self) -> Range | None:
        """The range that will be read next, of those that were not taken yet."""

    def take(self) -> None:
        """Take the range that `peek` returns."""

    def is_passed(self, start: int) -> bool:
        """Whether an expected range that begins there will not be read any more."""
