"""Files that are written: s3fs's, without its defects, and with parts that are sent while the writer goes on.

A file of one part at the most is one PUT. The memory of a file is the part that is being filled and
`_BYTES_IN_PROGRESS` of parts on their way, or one part where that is larger.

Others' own parts that are named in this module: of `S3File` the methods `_abort_mpu` and `_call_s3` and the
attributes `_request_payer_kw`, `append_block`, `buffer`, `forced`, `mpu` and `parts`; of its filesystem `_call_s3`.
"""

from __future__ import annotations

import atexit
import io
import logging
import weakref
from collections import deque
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from s3fs.core import S3File

from tierlake.connector.errors import AlreadyExists, LakeError, ObjectNotFound
from tierlake.connector.observe import hooks, tracing
from tierlake.connector.observe.edges import edge
from tierlake.connector.transfer.background_parts import BackgroundParts
from tierlake.connector.transfer.multipart import sent_part
from tierlake.connector.transfer.part_sizes import PARTS_MAX, next_part_bytes
from tierlake.connector.transfer.unwinding import closed_by_a_failure, is_failure, opened_by_arrow

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from s3fs import S3FileSystem

    from tierlake.connector.client.store import Store

logger = logging.getLogger("tierlake.connector")

_BYTES_IN_PROGRESS: Final = 64 << 20
_CONDITIONAL_BYTES: Final = 50 << 20
"""Of a file in mode `x`, where no upload in parts can be refused because the object exists."""

_unclosed: weakref.WeakValueDictionary[int, WritingFile] = weakref.WeakValueDictionary()
"""By identity: the hash of fsspec's files makes a request."""


@atexit.register
def _discard_unclosed() -> None:
    """Discard what is still open for writing when the process ends: no executor takes work then, so closing fails."""
    for file in [file for file in _unclosed.values() if not file.closed]:
        logger.warning("%s is not written: it was not closed before the process ended", file.path)
        file.discard()


@edge
class WritingFile(S3File):  # type: ignore[misc]  # s3fs ships no types
    """A file on the lake that is written.

    It differs from s3fs's in four ways. Mode `x` raises FileExistsError at once if the file exists. An empty
    file keeps the options of `open` and mode `x`'s condition. A write that fails leaves the object as it was. Parts
    are sent in the background, and grow so that any object fits into 10,000 of them; the failure of one is raised by
    the next `write` or by `close`.
    """

    blocksize: int
    buffer: Any  # an `io.BytesIO`; None once it is committed or discarded
    forced: bool
    mpu: dict[str, Any] | None
    _copied: list[dict[str, Any]] | None

    def __init__(self, fs: S3FileSystem, path: str, mode: str = "wb", *, store: Store, **kwargs: Any) -> None:
        self.closed = False
        self._store = store
        self._is_arrows = opened_by_arrow()
        self._begun = 0
        self._background: BackgroundParts | None = None
        self._around = tracing.scope() if hooks.is_on() else None
        try:
            super().__init__(fs, path, mode, **kwargs)
            self._check_mode()
        except BaseException:
            self.closed = True  # or `close` would replace the old object by an empty one
            raise
        _unclosed[id(self)] = self

    @property
    def parts(self) -> list[dict[str, Any]] | None:
        """The parts that are in the store, as s3fs has them: waits for those on their way; None before the first."""
        return self._copied if self._background is None else [*(self._copied or ()), *self._background.finish()]

    @parts.setter
    def parts(self, parts: list[dict[str, Any]] | None) -> None:
        self._copied = parts

    @property
    def offset(self) -> int | None:
        """How many bytes were handed over for sending, as fsspec has it; None before the first part."""
        return int(self.loc - self.buffer.tell()) if self._background is not None and self.buffer is not None else None

    @offset.setter
    def offset(self, offset: int | None) -> None:
        """Ignore the value: fsspec's constructor sets what it would count itself."""

    def _check_mode(self) -> None:
        written_class = self.s3_additional_kwargs.get("StorageClass")
        if "a" in self.mode and written_class not in self._store.profile_sync().storage_classes:
            # s3fs repeats the HEAD's class; a remote tier is not a class for a write.
            self.s3_additional_kwargs.pop("StorageClass", None)
        if "x" in self.mode:
            try:
                self.fs.info(self.path, refresh=True)
            except FileNotFoundError:
                if not self._store.profile_sync().complete_if_none_match:  # only one PUT has the condition
                    self.blocksize = max(self.blocksize, _CONDITIONAL_BYTES)
                return
            raise AlreadyExists(
                "open in mode 'x': it exists already", hint="Mode 'w' replaces it", bucket=self.bucket, key=self.key
            )

    def write(self, data: Any) -> int:
        """Write bytes; whole parts are sent in the background.

        Raises:
            Exception: The failure of an earlier part; then the file is discarded.
        """
        if not self.writable():
            raise ValueError("File not in write mode, or closed")
        if self.forced:
            raise ValueError("This file has been force-flushed, can only close")
        view = memoryview(data)
        if not view.nbytes:
            return 0
        rest = view.cast("B")
        with self._whole_or_discarded():
            if self._background is not None:
                self._background.check()
            while rest:
                if not self._room:
                    self._send_buffer()
                piece = rest[: self._room]
                self.loc += self.buffer.write(piece)
                rest = rest[len(piece) :]
            if self._background is not None and not self._room:
                self._send_buffer()
        return view.nbytes

    def flush(self, force: bool = False) -> None:  # noqa: FBT001, FBT002 -- fsspec's order
        """Send a part that is complete.

        Args:
            force: Send all, and make the file visible unless `autocommit` is off; then it can only be closed.

        Raises:
            ValueError: The file is closed, or was flushed by force.
        """
        if self.closed:
            raise ValueError("Flush on closed file")
        if force and self.forced:
            raise ValueError("Force flush cannot be called more than once")
        if not force:
            if not self._room:
                with self._whole_or_discarded():
                    self._send_buffer()
            return
        self.forced = True
        is_one_put = self.autocommit and not self.append_block and self._background is None
        if not is_one_put and self.loc:
            with self._whole_or_discarded():
                self._send_buffer().finish()
        if self.autocommit:
            self.commit()

    def close(self) -> None:
        """Write the rest and make the file visible; discard it if a failure ends its `with` block."""
        if not self.closed and closed_by_a_failure():
            self.discard()
        super().close()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close it; after a failure the object stays as it was, and no part is left."""
        if is_failure(kind):
            self.discard()
        self.close()

    def __del__(self) -> None:
        """Close a file that nobody closed, or discard one that Arrow abandoned."""
        if not self.closed and self._is_arrows:
            self.discard()
        super().__del__()

    def discard(self) -> None:
        """Discard the written bytes: the object stays as it was."""
        self.closed = True
        self.buffer = None
        files = self.fs.transaction.files
        if isinstance(files, deque) and self in files:
            files.remove(self)
        if self._background is not None:
            self._background.stop()
        try:
            self._abort_mpu()
        except LakeError as error:  # another error, already raised or to come, says more
            logger.warning("Parts of %s are left, `tierlake uploads abort` removes them: %s", self.path, error)

    @contextmanager
    def _whole_or_discarded(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.discard()  # without this part the file would be wrong
            raise

    @property
    def _room(self) -> int:
        """The bytes that the part being filled still takes."""
        fixed = self.fs.fixed_upload_size
        size = self.blocksize if fixed else next_part_bytes(self._begun + 1, self.blocksize)
        return int(size - self.buffer.tell())

    def _send_buffer(self) -> BackgroundParts:
        background = self._begin() if self._background is None else self._background
        body = self.buffer.getvalue()  # shares the buffer's memory
        if not body:
            return background
        self._begun += 1
        if self._begun > PARTS_MAX:
            message = f"{self.path}: an upload has {PARTS_MAX:,} parts at the most; open it with a larger block_size"
            raise ValueError(message)
        self.buffer = io.BytesIO()
        with tracing.unless_within(self._around):
            background.add(self._begun, body)
        return background

    def _begin(self) -> BackgroundParts:
        options = {"ACL": self.acl} if self.acl else {}
        target = {"Bucket": self.bucket, "Key": self.key}
        self.mpu = self._call_s3("create_multipart_upload", **target, **options)
        self._copied = []
        upload = {**target, "UploadId": self.mpu["UploadId"]}
        if self.append_block:
            self._begun = 1
            response = self._call_s3("upload_part_copy", **upload, PartNumber=1, CopySource=target)
            self._copied = [{"PartNumber": 1, "ETag": response["CopyPartResult"]["ETag"]}]
        # a part's way holds no reference to the file, or the last one would be dropped on the event loop
        call = partial(_called, self.fs._call_s3, (self.s3_additional_kwargs, self._request_payer_kw))  # noqa: SLF001 -- see above
        send = partial(sent_part, call, upload)
        self._background = BackgroundParts(
            send, self.fs.loop, bytes_at_once=_BYTES_IN_PROGRESS, parts_at_once=self.fs.max_concurrency
        )
        return self._background

    def commit(self) -> None:
        """Make the file visible; if it is refused, no parts are left.

        Raises:
            ValueError: The file was discarded.
        """
        if self.buffer is None:
            raise ValueError(f"{self.path}: what was written has been discarded, or is visible already")
        condition = {"IfNoneMatch": "*"} if "x" in self.mode else {}
        try:
            if self.mpu and self._background is not None:
                result = self._complete(self.mpu["UploadId"], self.parts or [], condition)
            else:
                result = self._put(self.buffer.getvalue(), condition)
        except BaseException:
            self.discard()
            raise
        self.mpu = self._copied = self._background = self.buffer = None
        if self.fs.version_aware:
            self.version_id = result.get("VersionId")
        self.fs.invalidate_cache(self.path)

    def _complete(self, upload_id: str, parts: list[dict[str, Any]], condition: dict[str, str]) -> dict[str, Any]:
        answer: dict[str, Any] = self._call_s3(
            "complete_multipart_upload",
            Bucket=self.bucket,
            Key=self.key,
            UploadId=upload_id,
            MultipartUpload={"Parts": parts},
            **condition,
        )
        return answer

    def _put(self, body: bytes, condition: dict[str, str]) -> dict[str, Any]:
        options = {"ACL": self.acl, **condition} if self.acl else condition
        answer: dict[str, Any] = self._call_s3("put_object", Bucket=self.bucket, Key=self.key, Body=body, **options)
        return answer

    def _call_s3(self, method: str, *options: Any, **request: Any) -> Any:
        """Make a request, as part of the span in which the file was opened where there is no other one."""
        with tracing.unless_within(self._around):
            return super()._call_s3(method, *options, **request)

    def _abort_mpu(self) -> None:
        with suppress(ObjectNotFound):
            super()._abort_mpu()
        self.mpu = None


async def _called(
    call: Callable[..., Awaitable[Any]], options: tuple[Mapping[str, Any], ...], operation: str, **request: Any
) -> Any:
    return await call(operation, *options, **request)
