"""Files that are read: s3fs's, without its defects.

Others' own parts that are named in this module: of `S3File` the method `_fetch_range`.
"""

from __future__ import annotations

from typing import Any

from s3fs.core import S3File
from s3fs.utils import FileExpired

from tierlake.connector.errors import ObjectNotFound, PreconditionFailed


class ReadingFile(S3File):  # type: ignore[misc]  # s3fs ships no types
    """A file on the lake that is read.

    It differs from s3fs's in two ways. A folder is no file, and is not found. Any failed precondition of a read is a
    `s3fs.utils.FileExpired`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if kwargs.get("size") is None and self.details["type"] == "directory":
            self.closed = True
            raise ObjectNotFound("It is a folder", bucket=self.bucket, key=self.key)

    def _fetch_range(self, start: int, end: int) -> Any:
        try:
            return super()._fetch_range(start, end)
        except PreconditionFailed as error:
            raise FileExpired(filename=self.details["name"], e_tag=self.details.get("ETag")) from error
