"""Lines on the process's standard error, whole, by a thread that may have to wait for it.

The standard error of a process may be closed, a file on a full disk, or a pipe that nobody reads. A thread that waits
inside `sys.stderr.write` holds a lock which the interpreter takes when it ends, and Python aborts. So the descriptor is
written where the stream is the process's own; a stream that somebody has put in its place is written as such.
"""

from __future__ import annotations

import io
import os
import select
import stat
import sys
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["StandardError", "is_terminal"]

_DESCRIPTOR: Final = 2
_POLL_MILLISECONDS: Final = 1000
_END: Final = b"\n"
_AT_ONCE: Final = 1 << 16
"""Bytes that a file is given at once: whoever writes lets others go first, and then waits for them."""


def is_terminal() -> bool:
    """Whether lines are shown on a terminal now."""
    try:
        return bool(sys.stderr.isatty())
    except (AttributeError, ValueError):  # None, or closed
        return False


class StandardError:
    """Writes lines; of one that was written in part, the next write ends the rest."""

    def __init__(self) -> None:
        self._is_torn = False

    def write(self, lines: Iterable[str]) -> None:
        """Write lines, without their ends, to what `sys.stderr` is now.

        Raises:
            OSError: They could not be written, or not all.
            ValueError: The stream is closed.
        """
        stream = sys.stderr
        if stream is None or stream.closed:
            raise OSError("There is no standard error")
        if _is_the_process_own(stream):
            for chunk in _chunks(line.encode(stream.encoding, "backslashreplace") for line in lines):
                self._write(chunk)
        else:
            stream.write("".join(f"{line}\n" for line in lines))
            stream.flush()

    def _write(self, chunk: bytes) -> None:
        rest = memoryview(_END + chunk if self._is_torn else chunk)
        while rest:
            try:
                written = os.write(_DESCRIPTOR, rest)
            except BlockingIOError:
                _wait()
                continue
            self._is_torn = written < len(rest)
            rest = rest[written:]


def _is_the_process_own(stream: TextIO) -> bool:
    if type(stream) is not io.TextIOWrapper:
        return False
    raw = getattr(stream.buffer, "raw", stream.buffer)
    return isinstance(raw, io.FileIO) and raw.fileno() == _DESCRIPTOR


def _chunks(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Lines together; for a pipe, as far as it takes them in one piece: other processes may write to it as well."""
    together: list[bytes] = []
    size, most = 0, _AT_ONCE if _is_file() else select.PIPE_BUF
    for line in lines:
        length = len(line) + len(_END)
        if together and size + length > most:
            yield b"".join(together)
            together, size = [], 0
        together += (line, _END)
        size += length
    if together:
        yield b"".join(together)


def _is_file() -> bool:
    return stat.S_ISREG(os.fstat(_DESCRIPTOR).st_mode)


def _wait() -> None:
    """Wait until a descriptor that does not block takes more."""
    poll = select.poll()
    poll.register(_DESCRIPTOR, select.POLLOUT)
    poll.poll(_POLL_MILLISECONDS)
