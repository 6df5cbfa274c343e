"""Values that are made once for each key, and live as long as somebody uses them; the latest ones a while longer."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

KeyT = TypeVar("KeyT", bound="Hashable")
ValueT = TypeVar("ValueT")


class WeakCache(Generic[KeyT, ValueT]):
    """A bounded cache in which a value that is in use is never made a second time.

    Args:
        make: Makes the value for a key.
        recent: So many values are kept although nobody uses them.
    """

    def __init__(self, make: Callable[[KeyT], ValueT], recent: int) -> None:
        self._make = make
        self._most = recent
        self._living: weakref.WeakValueDictionary[KeyT, ValueT] = weakref.WeakValueDictionary()
        self._recent: OrderedDict[KeyT, ValueT] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: KeyT) -> ValueT:
        """The value for a key, made where there is none."""
        with self._lock:
            value = self._living.get(key)
            if value is None:
                value = self._living[key] = self._make(key)
            self._recent[key] = value
            self._recent.move_to_end(key)
            if len(self._recent) > self._most:
                self._recent.popitem(last=False)
            return value
