"""Bounded memory of a process: mappings that drop entries when they grow too large or are unused for too long."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Hashable, ItemsView, Iterator, MutableMapping, ValuesView
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

KeyT = TypeVar("KeyT", bound=Hashable)
ValueT = TypeVar("ValueT")


class Recent(MutableMapping[KeyT, ValueT], Generic[KeyT, ValueT]):
    """A mapping of the entries that were set or read last.

    Args:
        most: The largest total size; the newest entry stays, however large it is.
        seconds: An entry is dropped when it was neither set nor read for so long; None keeps it.
        size: The size of an entry; 1 by default.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        most: int,
        *,
        seconds: float | None = None,
        size: Callable[[ValueT], int] = lambda _: 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most = most
        self._seconds = seconds
        self._size = size
        self._clock = clock
        self._entries: OrderedDict[KeyT, tuple[float, int, ValueT]] = OrderedDict()
        self._total = 0
        self._lock = threading.RLock()

    def __getitem__(self, key: KeyT) -> ValueT:
        with self._lock:
            self._drop()
            _, size, value = self._entries[key]
            self._entries[key] = (self._clock(), size, value)
            self._entries.move_to_end(key)
            return value

    def __contains__(self, key: object) -> bool:
        with self._lock:
            self._drop()
            if key not in self._entries:
                return False
            self[key]  # type: ignore[index]  # it counts as a read
            return True

    def __setitem__(self, key: KeyT, value: ValueT) -> None:
        with self._lock:
            self.pop(key, None)
            size = self._size(value)
            self._entries[key] = (self._clock(), size, value)
            self._total += size
            self._drop()

    def __delitem__(self, key: KeyT) -> None:
        with self._lock:
            _, size, _ = self._entries.pop(key)
            self._total -= size

    def __iter__(self) -> Iterator[KeyT]:
        with self._lock:
            self._drop()
            return iter(list(self._entries))

    def __len__(self) -> int:
        with self._lock:
            self._drop()
            return len(self._entries)

    def items(self) -> ItemsView[KeyT, ValueT]:
        """The present entries, the newest last; this does not count as a read of them."""
        with self._lock:
            self._drop()
            return {key: value for key, (_, _, value) in self._entries.items()}.items()

    def values(self) -> ValuesView[ValueT]:
        """The present values, likewise."""
        return dict(self.items()).values()

    def clear(self) -> None:
        """Drop all entries."""
        with self._lock:
            self._entries.clear()
            self._total = 0

    def dropped(self, key: KeyT, value: ValueT) -> None:
        """A hook: an entry was dropped because there are too many, or it was not used."""

    def _drop(self) -> None:
        oldest = self._clock() - self._seconds if self._seconds is not None else float("-inf")
        while self._entries:
            key, (used, size, value) = next(iter(self._entries.items()))
            if used > oldest and (self._total <= self._most or len(self._entries) == 1):
                return
            del self._entries[key]
            self._total -= size
            self.dropped(key, value)


class RecentSet(Recent[KeyT, None]):
    """The keys that were set or read last."""

    def add(self, key: KeyT) -> None:
        """Remember a key."""
        self[key] = None

    def discard(self, key: KeyT) -> None:
        """Forget a key."""
        self.pop(key, None)
