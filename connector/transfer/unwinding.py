"""Whether a file ends because its writer failed.

`LakeFile.__exit__` is told. But most writers put something between their `with` and the file: a text wrapper,
pandas' handles, Arrow's streams, `fsspec.open`. None of these passes the error on: they call `close()`, as at a
good end, and Arrow's dataset writer drops the files that it did not finish. What the interpreter knows of the caller
tells them apart.
"""

from __future__ import annotations

import dis
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

_CALLS_EXIT = dis.opmap["WITH_EXCEPT_START"]
"""At this instruction a frame calls `__exit__` with an error; the interpreter's name for it since 3.9."""
_BETWEEN = frozenset({"bz2", "codecs", "connector", "contextlib", "fsspec", "gzip", "lzma", "pandas", "pyarrow"})
"""Packages (ours without its `tierlake.`) whose `__exit__` only closes what it wraps.

Others' may have something to write when work has failed.
"""


def is_failure(error: type[BaseException] | None) -> bool:
    """Whether an error says that a `with` block did not come to its end.

    A generator that is closed is told so by `GeneratorExit`: for one that writes what it is sent, this is the end.
    """
    return error is not None and not issubclass(error, GeneratorExit)


def closed_by_a_failure() -> bool:
    """Whether the `close()` that asks is called by the end of a `with` block that failed.

    A `close()` that is written out is none of these, in an `except` or `finally` too: it means what it says.
    """
    error = sys.exception()
    if error is None or not is_failure(type(error)):
        return False
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 -- `inspect.stack()` reads source files
    while frame is not None:
        if frame.f_code.co_code[frame.f_lasti] == _CALLS_EXIT:
            return True
        if _package(frame) not in _BETWEEN:
            return False
        frame = frame.f_back
    return False


def opened_by_arrow() -> bool:
    """Whether the open file is asked for by Arrow, which closes each file that it has finished."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 -- likewise
    while frame is not None and _package(frame) in _BETWEEN:
        if frame.f_globals.get("__name__") == "pyarrow.fs":
            return True
        frame = frame.f_back
    return False


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__")).removeprefix("tierlake.").partition(".")[0]
