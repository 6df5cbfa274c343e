"""One look at a table for several questions: what it answers is of one moment, and the store is asked once."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Looks"]

LookT = TypeVar("LookT")


class Looks(Generic[LookT]):
    """A table's looks; each is a new one, but inside `once`."""

    def __init__(self) -> None:
        """Nothing is kept yet."""
        self._local = threading.local()

    @contextmanager
    def once(self) -> Iterator[None]:
        """In this thread, the first look is good for all that follow."""
        outer: list[LookT] | None = getattr(self._local, "kept", None)
        self._local.kept = [] if outer is None else outer
        try:
            yield
        finally:
            self._local.kept = outer

    def at(self, look: Callable[[], LookT]) -> LookT:
        """What a look sees.

        Args:
            look: Makes a new one.
        """
        kept: list[LookT] | None = getattr(self._local, "kept", None)
        if kept is None:
            return look()
        if not kept:
            kept.append(look())
        return kept[0]
