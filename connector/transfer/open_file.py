"""Open files: s3fs's, without its defects.

Others' own parts that are named in this module: of `S3File` the methods `_abort_mpu`, `_call_s3`,
`_fetch_range` and `_upload_chunk` and the attributes `buffer`, `mpu` and `parts`; of fsspec's filesystems
`_transaction`.
"""

from __future__ import annotations

import atexit
import logging
import weakref
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from s3fs.core import S3File
from s3fs.utils import FileExpired

from tierlake.connector.errors import AlreadyExists, LakeError, ObjectNotFound, PreconditionFailed
from tierlake.connector.transfer.unwinding import closed_by_a_failure, is_failure, opened_by_arrow

if TYPE_CHECKING:
    import io

    from s3fs import S3FileSystem

    from tierlake.connector.client.store import Store

logger = logging.getLogger("tierlake.connector")

_FILE_OPTIONS = ("autocommit", "cache_options", "size")
_written: weakref.WeakValueDictionary[int, LakeFile] = weakref.WeakValueDictionary()
"""By identity: the hash of fsspec's files makes a request."""


@atexit.register
def _discard_unclosed() -> None:
    """Discard what is still open for writing when the process ends: no executor takes work then, so closing fails."""
    for file in [file for file in _written.values() if not file.closed]:
        logger.warning("%s is not written: it was not closed before the process ended", file.path)
        file.discard()


class LakeFile(S3File):  # type: ignore[misc]  # s3fs ships no types
    """A file on the lake.

    It differs from s3fs's in three ways. Mode `x` raises FileExistsError at once if the file exists. An empty
    file keeps the options of `open` and mode `x`'s condition. Any failed precondition of a read is a
    `s3fs.utils.FileExpired`.
    """

    buffer: io.BytesIO | None
    mpu: dict[str, Any] | None
    parts: list[dict[str, Any]] | None

    def __init__(self, fs: S3FileSystem, path: str, mode: str = "rb", *, store: Store, **kwargs: Any) -> None:
        self.closed = False
        self._store = store
        self._is_arrows = opened_by_arrow()
        try:
            super().__init__(fs, path, mode, **kwargs)
            self._check_mode()
        except BaseException:
            self.closed = True  # or `close` would replace the old object by an empty one
            raise
        if mode != "rb":
            _written[id(self)] = self

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

    def _fetch_range(self, start: int, end: int) -> Any:
        try:
            return super()._fetch_range(start, end)
        except PreconditionFailed as error:
            raise FileExpired(filename=self.details["name"], e_tag=self.details.get("ETag")) from error

    def close(self) -> None:
        """Write the rest and make the file visible; discard it if a failure ends its `with` block."""
        if not self.closed and self.mode != "rb" and closed_by_a_failure():
            self.discard()
        super().close()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close it; after a failure the object stays as it was, and no part is left."""
        if self.mode != "rb" and is_failure(kind):
            self.discard()
        self.close()

    def __del__(self) -> None:
        """Close a file that nobody closed, or discard one that Arrow abandoned."""
        if not self.closed and self.mode != "rb" and self._is_arrows:
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


def open_file(fs: S3FileSystem, store: Store, path: str, mode: str, options: dict[str, Any]) -> LakeFile:
    """Open a file as s3fs does.

    Args:
        fs: The filesystem, which s3fs's files call.
        store: Its store.
        path: The object.
        mode: `rb`, `wb`, `ab` or `xb`.
        options: s3fs's options of `open`. Other options are passed to the requests.

    Raises:
        ValueError: A version is requested, but the filesystem is not aware of versions.
    """
    rest = dict(options)
    version_id = rest.pop("version_id", None)
    if version_id and not fs.version_aware:
        raise ValueError("version_id cannot be specified if the filesystem is not version aware")
    extra = fs.s3_additional_kwargs
    spelt_otherwise = rest.pop("blocksize", None)  # the files' own name for it
    payer, fill = rest.pop("requester_pays", None), rest.pop("fill_cache", None)
    arguments = {
        "block_size": rest.pop("block_size", None) or spelt_otherwise or fs.default_block_size,
        "acl": rest.pop("acl", False) or extra.get("ACL", False) or extra.get("acl", False),
        "version_id": version_id,
        "fill_cache": fs.default_fill_cache if fill is None else fill,
        "cache_type": rest.pop("cache_type", None) or fs.default_cache_type,
        "requester_pays": fs.requester_pays if payer is None else payer,
        **{name: rest.pop(name) for name in _FILE_OPTIONS if name in rest},
    }
    return LakeFile(fs, path, mode, store=store, s3_additional_kwargs={**extra, **rest}, **arguments)
