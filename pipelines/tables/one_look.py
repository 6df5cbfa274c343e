"""One read of a table for several questions: all answers are of one moment, and the store is read once."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Looks"]

LookT = TypeVar("LookT")


class Looks(Generic[LookT]):
    """A table's reads; each is a new one, except inside `once`."""

    def __init__(self) -> None:
        """Begin without a kept read."""
        self._local = threading.local()

    @contextmanager
    def once(self) -> Iterator[None]:
        """Within this context and thread, the first read is reused by all later ones."""
        outer: list[LookT] | None = getattr(self._local, "kept", None)
        self._local.kept = [] if outer is None else outer
        try:
            yield
        finally:
            self._local.kept = outer

    def at(self, look: Callable[[], LookT]) -> LookT:
        """The result of a read.

        Args:
            look: Makes a new read.
        """
        kept: list[LookT] | None = getattr(self._local, "kept", None)
        if kept is None:
            return look()
        if not kept:
            kept.append(look())
        return kept[0]
