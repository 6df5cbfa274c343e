"""Open files: s3fs's, with what it loses put right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from s3fs.core import S3File
from s3fs.utils import FileExpired

from connector.errors import AlreadyExists, ObjectNotFound, PreconditionFailed

if TYPE_CHECKING:
    from connector.filesystem import LakeFileSystem

_FILE_OPTIONS = ("autocommit", "cache_options", "size")


class LakeFile(S3File):  # type: ignore[misc]  # s3fs ships no types
    """A file on the lake.

    Other than s3fs's: mode ``x`` raises FileExistsError at once where the file exists, an empty file keeps
    the options it was opened with and mode ``x``'s condition, and any failed precondition of a read is a
    :class:`~s3fs.utils.FileExpired`.
    """

    def __init__(self, fs: Any, path: str, mode: str = "rb", **kwargs: Any) -> None:
        super().__init__(fs, path, mode, **kwargs)
        if "a" in mode and self.s3_additional_kwargs.get("StorageClass") not in fs.profile.storage_classes:
            # s3fs repeats what the HEAD said; a remote tier is no class to write.
            self.s3_additional_kwargs.pop("StorageClass", None)
        if "x" in mode:
            try:
                fs.info(path, refresh=True)
            except FileNotFoundError:
                return
            self.closed = True
            raise AlreadyExists("open in mode 'x': it exists already", bucket=self.bucket, key=self.key)

    def _fetch_range(self, start: int, end: int) -> Any:
        try:
            return super()._fetch_range(start, end)
        except PreconditionFailed as error:
            raise FileExpired(filename=self.details["name"], e_tag=self.details.get("ETag")) from error

    def commit(self) -> None:
        """Make the file visible; a refused one leaves no parts behind."""
        empty = self.tell() == 0 and self.buffer is not None
        if empty:
            self._commit_empty()
            return
        try:
            super().commit()
        except PreconditionFailed:
            self._abort_mpu()
            raise

    def _commit_empty(self) -> None:
        self._abort_mpu()
        options: dict[str, Any] = {"ACL": self.acl} if self.acl else {}
        if "x" in self.mode:
            options["IfNoneMatch"] = "*"
        result = self._call_s3("put_object", Bucket=self.bucket, Key=self.key, Body=b"", **options)
        if self.fs.version_aware:
            self.version_id = result.get("VersionId")
        self.buffer = None
        self.fs.invalidate_cache(self.path)

    def _abort_mpu(self) -> None:
        try:
            super()._abort_mpu()
        except ObjectNotFound:
            self.mpu = None


def open_file(fs: LakeFileSystem, path: str, mode: str, options: dict[str, Any]) -> LakeFile:
    """Open a file as s3fs does.

    Args:
        fs: The filesystem.
        path: The object.
        mode: ``rb``, ``wb``, ``ab`` or ``xb``.
        options: s3fs's options of ``open``; what is none of them goes with the requests.

    Raises:
        ValueError: A version is asked for, and the filesystem is not aware of versions.
    """
    rest = dict(options)
    version_id = rest.pop("version_id", None)
    if version_id and not fs.version_aware:
        raise ValueError("version_id cannot be specified if the filesystem is not version aware")
    extra = fs.s3_additional_kwargs
    spelt_otherwise = rest.pop("blocksize", None)  # as the files themselves call it
    payer, fill = rest.pop("requester_pays", None), rest.pop("fill_cache", None)
    said = {
        "block_size": rest.pop("block_size", None) or spelt_otherwise or fs.default_block_size,
        "acl": rest.pop("acl", False) or extra.get("ACL", False) or extra.get("acl", False),
        "version_id": version_id,
        "fill_cache": fs.default_fill_cache if fill is None else fill,
        "cache_type": rest.pop("cache_type", None) or fs.default_cache_type,
        "requester_pays": fs.requester_pays if payer is None else payer,
        **{name: rest.pop(name) for name in _FILE_OPTIONS if name in rest},
    }
    return LakeFile(fs, path, mode, s3_additional_kwargs={**extra, **rest}, **said)
