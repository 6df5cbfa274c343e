"""What is read next of a file that is read in order, such as CSV, JSON or gzip."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tierlake.connector.transfer.window_parts import RANGE_BYTES

if TYPE_CHECKING:
    from tierlake.connector.transfer.window_parts import Held, Range

_GAP_BYTES = 2**16
"""A read that begins at most so far beyond the last one is in order."""
_LEAST_BYTES = 2**16
"""The smallest range that is fetched, where a read does not ask for less than the file has left."""
_AHEAD_BYTES = 64 * 2**20


class StreamForecast:
    """Expects the bytes after the last read: twice as many each time, from the block size on.

    After a jump only what is read is fetched, until the reads are in order again.

    Args:
        size: The file's size in bytes.
        block_bytes: The first range that is fetched ahead.
    """

    credit = 0
    credit_max = _AHEAD_BYTES
    growth = 2
    streams = True

    def __init__(self, size: int, block_bytes: int) -> None:
        self._size, self._block = size, min(max(block_bytes, _LEAST_BYTES), RANGE_BYTES)
        self._start = self._stop = self._ahead = self._in_order = 0

    def observe(self, start: int, stop: int, held: Held) -> int | None:  # noqa: ARG002 -- as in `Forecast`
        """Take note of a read; it is expected if it begins within the last one, or a little behind it."""
        if self._start <= start <= self._stop + _GAP_BYTES:
            new = max(stop - max(start, self._stop), 0)
            self._start, self._stop = start, max(stop, self._stop)
            self._in_order += new
            return new
        self._start, self._stop, self._ahead, self._in_order = start, stop, stop, 0
        return None

    def widened(self, start: int, stop: int) -> int:
        """A whole step where the reads are in order, otherwise little more than the read."""
        return max(stop, start + (self._step if self._in_order else _LEAST_BYTES))

    def peek(self) -> Range | None:
        """The step after what was read or expected."""
        self._ahead = max(self._ahead, self._stop)
        if self._ahead >= self._size:
            return None
        return self._ahead, min(self._ahead + self._step, self._size)

    def take(self) -> None:
        """Expect the step after the one that `peek` returns."""
        self._ahead += self._step

    @property
    def _step(self) -> int:
        step = self._block
        while step < RANGE_BYTES and step < self._in_order:
            step *= 2
        return min(step, RANGE_BYTES)

    def is_passed(self, start: int) -> bool:
        """Whether a range is before all that is read now."""
        return start + RANGE_BYTES < self._start
