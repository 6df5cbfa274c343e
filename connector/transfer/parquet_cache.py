"""fsspec caches that expect what will be read next: `parquet` and `automatic`.

Importing `tierlake.connector` registers them, and from then on other filesystems take them by name too:

>>> s3fs.S3FileSystem().open("bucket/part.parquet", cache_type="parquet")      # doctest: +SKIP

`parquet` expects the columns that were read, `automatic` bytes in order until it sees that a file is Parquet. They
fetch many ranges at a time where the filesystem is an asynchronous one, as s3fs is, and only what is read where it is
not.

fsspec's own parts that are named in this module: of `fsspec.caching.BaseCache` the methods `_fetch` and
`_log_stats`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from fsspec.caching import BaseCache, register_cache

from tierlake.connector.transfer import memory
from tierlake.connector.transfer.column_forecast import ColumnForecast
from tierlake.connector.transfer.row_groups import END_BYTES, MAGIC
from tierlake.connector.transfer.sources import FetcherSource
from tierlake.connector.transfer.stream_forecast import StreamForecast
from tierlake.connector.transfer.window import Window

if TYPE_CHECKING:
    from collections.abc import Callable

    from tierlake.connector.transfer.ranges import Piece
    from tierlake.connector.transfer.window_parts import Forecast, Held, Range, Source

TAIL_BYTES = 2**19
"""How many bytes of a Parquet file's end are fetched first; few footers are longer."""
_MEMORY_BYTES = 256 * 2**20


class AutomaticForecast:
    """Expects bytes in order, and columns from the moment at which it sees a Parquet file's end.

    Args:
        size: The file's size in bytes.
        block_bytes: The first range that is fetched ahead.
    """

    def __init__(self, size: int, block_bytes: int) -> None:
        self._size = size
        self._now: Forecast = StreamForecast(size, block_bytes)
        self._is_settled = size < END_BYTES + len(MAGIC)

    credit = 0

    @property
    def credit_max(self) -> int:
        """How many bytes may be fetched ahead at most."""
        return self._now.credit_max

    @property
    def growth(self) -> int:
        """How many bytes of credit one byte earns that was read as expected."""
        return self._now.growth

    @property
    def streams(self) -> bool:
        """Whether bytes are read in order."""
        return self._now.streams

    def observe(self, start: int, stop: int, held: Held) -> int | None:
        """Take note of a read."""
        end = held(self._size - END_BYTES, self._size) if not self._is_settled else None
        if end is None:
            return self._now.observe(start, stop, held)
        self._is_settled = True
        if end[-len(MAGIC) :] != MAGIC:
            return self._now.observe(start, stop, held)
        self._now = ColumnForecast(self._size)
        return (self._now.observe(start, stop, held) or 0) + self._now.credit // self._now.growth

    def widened(self, start: int, stop: int) -> int:
        """The end of the range to fetch for a read whose bytes are not held."""
        return self._now.widened(start, stop)

    def peek(self) -> Range | None:
        """The range that will be read next."""
        return self._now.peek()

    def take(self) -> None:
        """Take the range that `peek` returns."""
        self._now.take()

    def is_passed(self, start: int) -> bool:
        """Whether an expected range that begins there will not be read any more."""
        return self._now.is_passed(start)


class ForecastCache(BaseCache):  # type: ignore[misc]  # fsspec ships no types
    """A cache that expects what will be read next; see `tierlake.connector.transfer.window`.

    Args:
        blocksize: The first range that is fetched ahead in a file that is read in order.
        fetcher: Returns the bytes of a range.
        size: The file's size in bytes.
        memory_bytes: The limit for what the whole process holds.
        source: Fetches ranges in place of `fetcher`.
        known: Bytes of the file that are in memory already.
    """

    def __init__(
        self,
        blocksize: int,
        fetcher: Callable[[int, int], bytes],
        size: int,
        *,
        memory_bytes: int = _MEMORY_BYTES,
        source: Source | None = None,
        known: Piece | None = None,
    ) -> None:
        super().__init__(blocksize, fetcher, size)
        self._window = Window(source or FetcherSource(fetcher), size, self._forecast(), memory.PROCESS, memory_bytes)
        self._has_end = known is not None
        if known is not None:
            self._window.hold(known.start, memoryview(known.data))

    def _forecast(self) -> Forecast:
        raise NotImplementedError

    def _begin(self) -> None:
        """Prepare the first read."""

    def _fetch(self, start: int | None, stop: int | None) -> bytes:
        self._begin()
        return self._window.read(start or 0, self.size if stop is None else stop)

    def buffer(self, start: int, stop: int) -> memoryview:
        """The bytes of a range, not copied if that can be avoided."""
        self._begin()
        return self._window.buffer(start, stop)

    def close(self) -> None:
        """Drop all bytes, and stop fetching."""
        self._window.close()

    def _log_stats(self) -> str:
        self.hit_count, self.miss_count = self._window.hits, self._window.misses
        self.total_requested_bytes = self._window.requested
        stats: str = super()._log_stats()
        return stats


class ParquetCache(ForecastCache):
    """A cache for Parquet files: expects the next row groups' chunks of the columns that were read."""

    name: ClassVar[str] = "parquet"

    def _forecast(self) -> Forecast:
        return ColumnForecast(self.size)

    def _begin(self) -> None:
        if not self._has_end and self.size:
            start = max(self.size - TAIL_BYTES, 0)
            self._window.hold(start, memoryview(self.fetcher(start, self.size)))
            self._has_end = True


class AutomaticCache(ForecastCache):
    """A cache that goes by what is read: Parquet's columns, bytes in order, or no more than was asked for."""

    name: ClassVar[str] = "automatic"

    def _forecast(self) -> Forecast:
        return AutomaticForecast(self.size, self.blocksize)


for _cache in (ParquetCache, AutomaticCache):
    register_cache(_cache, clobber=True)
