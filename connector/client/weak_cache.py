"""Values that are made once for each key and live while they are in use; the latest ones live longer."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Generic, TypeVar

from tierlake.connector.client.recent import Recent

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

KeyT = TypeVar("KeyT", bound="Hashable")
ValueT = TypeVar("ValueT")


class WeakCache(Generic[KeyT, ValueT]):
    """A bounded cache that never makes a value again while it is in use.

    Args:
        make: Makes the value for a key.
        recent: The number of unused values that are kept.
    """

    def __init__(self, make: Callable[[KeyT], ValueT], recent: int) -> None:
        self._make = make
        self._living: weakref.WeakValueDictionary[KeyT, ValueT] = weakref.WeakValueDictionary()
        self._recent = Recent[KeyT, ValueT](recent)
        self._lock = threading.Lock()

    def get(self, key: KeyT) -> ValueT:
        """The value for a key, made if there is none."""
        with self._lock:
            value = self._living.get(key)
            if value is None:
                value = self._living[key] = self._make(key)
            self._recent[key] = value
            return value
