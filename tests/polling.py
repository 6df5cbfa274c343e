"""For what says in no other way that it has happened: other processes, and servers that act by themselves."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_EVERY_SECONDS = 0.1


def until(so: Callable[[], object], seconds: float) -> None:
    """Ask again and again, at most so long."""
    deadline = time.monotonic() + seconds
    while not so():
        assert time.monotonic() < deadline, f"it has not happened within {seconds:g} s"
        time.sleep(_EVERY_SECONDS)
