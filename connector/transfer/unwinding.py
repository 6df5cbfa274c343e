"""Whether a file is closed because its writer failed.

`WritingFile.__exit__` gets the error. But most writers put another object between their `with` and the file: a text
wrapper, pandas' handles, Arrow's streams, `fsspec.open`. None of these passes the error on: they call `close()` as
after a success, and Arrow's dataset writer drops unfinished files. The interpreter's frames tell the cases apart.
"""

from __future__ import annotations

import dis
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

_CALLS_EXIT = dis.opmap["WITH_EXCEPT_START"]
"""The instruction at which a frame calls `__exit__` with an error; its name since Python 3.9."""
_BETWEEN = frozenset({"bz2", "codecs", "connector", "contextlib", "fsspec", "gzip", "lzma", "pandas", "pyarrow"})
"""Packages (ours without its `tierlake.`) whose `__exit__` only closes what it wraps.

Other packages may write something after a failure.
"""


def is_failure(error: type[BaseException] | None) -> bool:
    """Whether an error means that a `with` block failed.

    `GeneratorExit` does not: it closes a generator, and is the normal end of one that writes what it is sent.
    """
    return error is not None and not issubclass(error, GeneratorExit)


def closed_by_a_failure() -> bool:
    """Whether the calling `close()` is called by the end of a failed `with` block.

    An explicit `close()` is not, even in an `except` or `finally`: it completes the file.
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
    """Whether Arrow opens the file; it closes each file that it has finished."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 -- likewise
    while frame is not None and _package(frame) in _BETWEEN:
        if frame.f_globals.get("__name__") == "pyarrow.fs":
            return True
        frame = frame.f_back
    return False


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__")).removeprefix("tierlake.").partition(".")[0]
