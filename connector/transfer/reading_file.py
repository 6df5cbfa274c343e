"""Files that are read: opened by one GET, which tells the size and the ETag, and read by forecasts.

s3fs opens a file by a HEAD, and reads it in blocks of 50 MB.

`S3File` gives it `metadata`, `getxattr`, `setxattr` and `url`, and is what other libraries look for; its constructor,
which makes the HEAD, is not called.

Others' own parts that are named in this module: of `S3File` the method `_fetch_range`, and the attributes `fill_cache`
and `mpu`, which its constructor sets; of `AbstractBufferedFile` the attributes `_details`, `cache` and `loc`.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fsspec.caching import caches
from fsspec.spec import AbstractBufferedFile
from s3fs.core import S3File

from tierlake.connector.client.concurrency import blocking
from tierlake.connector.errors import InvalidName, LakeError, ObjectArchived
from tierlake.connector.observe.edges import edge
from tierlake.connector.transfer.parquet_cache import TAIL_BYTES, AutomaticCache, ForecastCache, ParquetCache
from tierlake.connector.transfer.ranges import Piece, fetch
from tierlake.connector.transfer.row_groups import MAGIC
from tierlake.connector.transfer.sources import ObjectSource
from tierlake.connector.transfer.window_parts import RANGE_BYTES

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from s3fs import S3FileSystem

    from tierlake.connector.client.store import Store
    from tierlake.connector.transfer.contents import Contents

SMALL_BYTES = 2 * 2**20
"""Objects that are known to be no larger are fetched whole."""
_FIRST_BYTES = 2**20
_PROBE_BYTES = 2**16
"""What is fetched first for fsspec's own caches, which fetch for themselves."""
_PARQUET_ENDINGS = (".parquet", ".parq", ".pq")
_LINE_BYTES = 2**13
_LINES_BYTES = 2**20


@dataclass(frozen=True)
class ReadOptions:
    """How a file is read, as s3fs's `open` has it.

    Args:
        block_size: The block size; of fsspec's caches, and of `f.blocksize`.
        first_bytes: What is fetched first of a file that is not Parquet, within 64 kB and 8 MiB.
        version_id: A version; None is the latest.
        fill_cache: Only kept, as s3fs does.
        cache_type: The name of an fsspec cache.
        cache_options: Its options.
        requester_pays: The requester pays.
        autocommit: Only kept.
        size: The object's size, where it is known.
        parameters: Further parameters of the requests.
    """

    block_size: int
    first_bytes: int = _FIRST_BYTES
    version_id: str | None = None
    fill_cache: bool = True
    cache_type: str = AutomaticCache.name
    cache_options: dict[str, Any] | None = None
    requester_pays: bool = False
    autocommit: bool = True
    size: int | None = None
    parameters: dict[str, Any] | None = None


@functools.partial(edge, of="tierlake.")  # what others wrote, such as `seek`, is called for each read
class ReadingFile(S3File):  # type: ignore[misc]  # s3fs ships no types
    """A file on the lake that is read.

    All bytes are those of one generation: the first response tells the ETag, which is the condition of every later
    request.

    Args:
        fs: The filesystem.
        store: Its store.
        path: The object.
        options: How it is read.
        contents: What is known of objects before they are opened.

    Raises:
        ObjectNotFound: There is no such object.
    """

    cache: Any
    loc: int
    _details: dict[str, Any] | None

    def __init__(self, fs: S3FileSystem, store: Store, path: str, options: ReadOptions, contents: Contents) -> None:
        self.closed = True  # until it is open
        bucket, key, path_version = fs.split_path(path)
        if not key:
            raise InvalidName(f"{path!r} names no object", hint="Write bucket/key", bucket=bucket or None)
        self.bucket, self.key = bucket, key
        self.version_id = options.version_id or path_version
        self.mpu = None  # `discard` asks for it
        self.fill_cache = options.fill_cache
        self._is_parquet = options.cache_type == ParquetCache.name or key.lower().endswith(_PARQUET_ENDINGS)
        self._target = {"Bucket": bucket, "Key": key}
        if self.version_id:
            self._target["VersionId"] = self.version_id
        try:
            first = self._first(fs, store, options, contents)
        except ObjectArchived as refused:
            first = self._archived(contents, refused)
        if fs.version_aware and not self.version_id and first.version_id:
            self.version_id = self._target["VersionId"] = first.version_id
        self._source = ObjectSource(
            store,
            _loop_of(fs),
            self._target,
            first.size,
            first.etag,
            options=self._request_parameters(options),
            is_conditional=not fs.local_expiry_check,
        )
        AbstractBufferedFile.__init__(
            self,
            fs,
            path,
            "rb",
            options.block_size,
            autocommit=options.autocommit,
            cache_type="none",
            size=first.size,
            **({"version_id": self.version_id} if self.version_id else {}),  # a pickle opens the file with it
        )
        self.s3 = fs
        self.closed = True
        self._first_piece = first
        self.cache = self._cache(options, first, store.settings.read_memory_bytes)
        if isinstance(self.cache, ForecastCache):  # which holds the bytes as long as they are needed
            self._first_piece = replace(first, data=b"", start=first.size)
        self.closed = False

    def _request_parameters(self, options: ReadOptions) -> dict[str, Any]:
        payer = "requester" if options.requester_pays else None  # None: not, whatever the filesystem does
        return {**(options.parameters or {}), "RequestPayer": payer}

    # -- opening -----------------------------------------------------------------------------------

    def _first(self, fs: S3FileSystem, store: Store, options: ReadOptions, contents: Contents) -> Piece:
        """The first bytes: those that are known, or those of the first request."""
        known = contents.of(f"{self.bucket}/{self.key}", self.version_id)
        if known is not None and not isinstance(known, Piece):
            try:
                known = known.result()
            except Exception:  # noqa: BLE001 -- the file's own request says what is wrong
                known = None
        if known is not None and known.start + len(memoryview(known.data)) == known.size:
            return known
        size = options.size if options.size is not None else _listed_size(fs, f"{self.bucket}/{self.key}")
        is_small = size is not None and size <= SMALL_BYTES
        own_cache = issubclass(caches[options.cache_type], ForecastCache)
        parameters = self._request_parameters(options)
        if self._is_parquet:
            count = SMALL_BYTES if is_small else TAIL_BYTES if own_cache else _PROBE_BYTES
            first = fetch(store, self._target, -count, **parameters)
        else:
            begin = min(max(options.first_bytes, _PROBE_BYTES), RANGE_BYTES)
            count = SMALL_BYTES if is_small else begin if own_cache else _PROBE_BYTES
            first = fetch(store, self._target, 0, count, **parameters)
        return blocking(fs.loop, first)

    def _archived(self, contents: Contents, refused: ObjectArchived) -> Piece:
        """The end of an archived object, if somebody has kept it; the store refuses reads of the rest as before."""
        if self.version_id:
            raise refused
        try:
            kept = contents.tail(f"{self.bucket}/{self.key}")
        except (LakeError, OSError):
            kept = None
        if kept is None:
            raise refused
        data, size = kept
        return Piece(data, start=size - len(data), size=size, etag="", version_id=None, last_modified=None)

    def _cache(self, options: ReadOptions, first: Piece, memory_bytes: int) -> Any:
        kind, more = caches[options.cache_type], dict(options.cache_options or {})
        if not issubclass(kind, ForecastCache):
            return kind(self.blocksize, self._fetch_range, self.size, **more)
        if self._is_parquet and kind is AutomaticCache and bytes(memoryview(first.data)[-len(MAGIC) :]) == MAGIC:
            kind = ParquetCache
        more.setdefault("memory_bytes", memory_bytes)
        return kind(options.first_bytes, self._source.read, self.size, source=self._source, known=first, **more)

    def _fetch_range(self, start: int, end: int) -> bytes:
        """Some bytes, for fsspec's own caches."""
        first = self._first_piece
        if first.start <= start and end <= first.start + len(memoryview(first.data)):
            return bytes(memoryview(first.data)[start - first.start : end - first.start])
        if start >= end:
            return b""
        return self._source.read(start, min(end, self.size))

    # -- reading -----------------------------------------------------------------------------------

    def read(self, length: int | None = -1) -> bytes:
        """Read bytes, by default all that are left."""
        start, stop = self._span(length)
        data: bytes = self.cache._fetch(start, stop) if start < stop else b""  # noqa: SLF001 -- fsspec's caches have no other
        self.loc += len(data)
        return data

    def read_buffer(self, length: int | None = -1) -> memoryview:
        """Read bytes without copying them, where they were fetched together. Arrow calls it where a file has it."""
        start, stop = self._span(length)
        cache = self.cache
        if isinstance(cache, ForecastCache):
            view = cache.buffer(start, stop)
        else:
            view = memoryview(cache._fetch(start, stop) if start < stop else b"")  # noqa: SLF001 -- fsspec's caches have no other
        self.loc += len(view)
        return view

    def read1(self, length: int | None = -1) -> bytes:
        """Read bytes, as `read`."""
        return self.read(length)

    def readinto(self, b: Any) -> int:
        """Read bytes into a buffer."""
        target = memoryview(b).cast("B")
        with self.read_buffer(len(target)) as data:
            target[: len(data)] = data
            return len(data)

    def readuntil(self, char: bytes = b"\n", blocks: int | None = None) -> bytes:
        """Read to the first occurrence of some bytes, and these; to the end if there is none.

        Args:
            char: The bytes.
            blocks: How much to look at in each step; by default ever more.
        """
        begin, step = self.loc, blocks or _LINE_BYTES
        found: list[bytes] = []
        while part := self.read(step):
            kept = found[-1][-len(char) + 1 :] if found and len(char) > 1 else b""
            at = (kept + part).find(char)
            if at >= 0:
                found.append(part[: at + len(char) - len(kept)])
                self.loc = begin + sum(map(len, found))
                break
            found.append(part)
            step = blocks or min(2 * step, _LINES_BYTES)
        return b"".join(found)

    def readline(self, size: int | None = -1) -> bytes:
        """Read a line, or no more than some bytes of it."""
        begin, line = self.loc, self.readuntil()
        if size is not None and 0 <= size < len(line):
            self.loc = begin + size
            return line[:size]
        return line

    def _span(self, length: int | None) -> tuple[int, int]:
        if self.closed:
            raise ValueError("I/O operation on closed file.")
        count = -1 if length is None else int(length)
        return self.loc, self.size if count < 0 else min(self.loc + count, self.size)

    # -- what is known of it -----------------------------------------------------------------------

    @property
    def details(self) -> dict[str, Any]:
        """The file's entry, as `info` has it, of the generation that is read; asks the store on first use."""
        if self._details is None:
            first = self._first_piece
            etag = self._source.etag
            own = {"name": f"{self.bucket}/{self.key}", "size": self.size, "type": "file", "ETag": etag}
            if first.last_modified is not None:
                own["LastModified"] = first.last_modified
            if self.fs.version_aware:
                own["VersionId"] = self.version_id
            self._details = {**own, **self._stored(etag)}
        return self._details

    def _stored(self, etag: str) -> dict[str, Any]:
        version = {"version_id": self.version_id} if self.fs.version_aware and self.version_id else {}
        for refresh in (False, True):
            try:
                entry: dict[str, Any] = self.fs.info(self.path, refresh=refresh, **version)
            except FileNotFoundError:
                return {}
            if entry["size"] == self.size and entry.get("ETag", etag) == etag:
                return entry
        return {}


def _listed_size(fs: S3FileSystem, name: str) -> int | None:
    """An object's size, if a cached listing has it."""
    entries = fs.dircache.entries(name.rpartition("/")[0], name) or ()
    return next((entry["size"] for entry in entries if entry["type"] == "file"), None)


def _loop_of(fs: S3FileSystem) -> Any:
    def loop() -> AbstractEventLoop:
        found: AbstractEventLoop = fs.loop
        return found

    return loop
