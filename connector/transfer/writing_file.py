"""Files that are written: s3fs's, without its defects.

Others' own parts that are named in this module: of `S3File` the methods `_abort_mpu`, `_call_s3` and
`_upload_chunk` and the attributes `buffer`, `mpu` and `parts`; of fsspec's filesystems `_transaction`.
"""

from __future__ import annotations

import atexit
import logging
import weakref
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from s3fs.core import S3File

from tierlake.connector.errors import AlreadyExists, LakeError, ObjectNotFound
from tierlake.connector.transfer.unwinding import closed_by_a_failure, is_failure, opened_by_arrow

if TYPE_CHECKING:
    import io

    from s3fs import S3FileSystem

    from tierlake.connector.client.store import Store

logger = logging.getLogger("tierlake.connector")

_unclosed: weakref.WeakSet[Any] = weakref.WeakSet()


@atexit.register
def _discard_unclosed() -> None:
    """Discard what is still open for writing when the process ends: no executor takes work then, so closing fails."""
    for file in [file for file in _unclosed if not file.closed]:
        logger.warning("%s is not written: it was not closed before the process ended", file.path)
        file.discard()


class WritingFile(S3File):  # type: ignore[misc]  # s3fs ships no types
    """A file on the lake that is written.

    It differs from s3fs's in three ways. Mode `x` raises FileExistsError at once if the file exists. An empty
    file keeps the options of `open` and mode `x`'s condition. A write that fails leaves the object as it was.
    """

    buffer: io.BytesIO | None
    mpu: dict[str, Any] | None
    parts: list[dict[str, Any]] | None

    def __init__(self, fs: S3FileSystem, path: str, mode: str = "wb", *, store: Store, **kwargs: Any) -> None:
        self.closed = False
        self._store = store
        self._is_arrows = opened_by_arrow()
        try:
            super().__init__(fs, path, mode, **kwargs)
            self._check_mode()
        except BaseException:
            self.closed = True  # or `close` would replace the old object by an empty one
            raise
        _unclosed.add(self)

    def _check_mode(self) -> None:
        written_class = self.s3_additional_kwargs.get("StorageClass")
        if "a" in self.mode and written_class not in self._store.profile_sync().storage_classes:
            # s3fs repeats the HEAD's class; a remote tier is not a class for a write.
            self.s3_additional_kwargs.pop("StorageClass", None)
        if "x" in self.mode:
            try:
                self.fs.info(self.path, refresh=True)
            except FileNotFoundError:
                return
            raise AlreadyExists("open in mode 'x': it exists already", bucket=self.bucket, key=self.key)

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
        try:
            self._abort_mpu()
        except LakeError as error:  # another error, already raised or to come, says more
            logger.warning("Parts of %s are left, `tierlake uploads abort` removes them: %s", self.path, error)

    def _upload_chunk(self, final: bool = False) -> bool:  # noqa: FBT001, FBT002 -- s3fs's order
        try:
            return bool(super()._upload_chunk(final))
        except BaseException:
            self.discard()  # without this part the file would be wrong
            raise

    def commit(self) -> None:
        """Make the file visible; if it is refused, no parts are left.

        Raises:
            ValueError: The file was discarded.
        """
        if self.buffer is None:
            raise ValueError(f"{self.path}: what was written has been discarded, or is visible already")
        condition = {"IfNoneMatch": "*"} if "x" in self.mode else {}
        try:
            if self.mpu and self.parts:
                result = self._complete(self.mpu["UploadId"], self.parts, condition)
            else:
                result = self._put(self.buffer.getvalue(), condition)
        except BaseException:
            self.discard()
            raise
        self.mpu = self.parts = self.buffer = None
        if self.fs.version_aware:
            self.version_id = result.get("VersionId")
        self.fs.invalidate_cache(self.path)

    def _call_s3(self, method: str, *options: Any, **params: Any) -> Any:
        if "CopySource" in params:  # s3fs passes a path, in which a key may look like a version
            params["CopySource"] = {"Bucket": self.bucket, "Key": self.key}
        return super()._call_s3(method, *options, **params)

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
        self._abort_mpu()  # an empty file's: an upload has at least one part
        options = {"ACL": self.acl, **condition} if self.acl else condition
        answer: dict[str, Any] = self._call_s3("put_object", Bucket=self.bucket, Key=self.key, Body=body, **options)
        return answer

    def _abort_mpu(self) -> None:
        with suppress(ObjectNotFound):
            super()._abort_mpu()
        self.mpu = None
