"""Files that are read: s3fs's, without its defects.

Others' own parts that are named in this module: of `S3File` the method `_fetch_range`.
"""

from __future__ import annotations

from typing import Any

from s3fs.core import S3File
from s3fs.utils import FileExpired

from tierlake.connector.errors import PreconditionFailed


class ReadingFile(S3File):  # type: ignore[misc]  # s3fs ships no types
    """A file on the lake that is read.

    It differs from s3fs's in one way. Any failed precondition of a read is a `s3fs.utils.FileExpired`.
    """

    def _fetch_range(self, start: int, end: int) -> Any:
        try:
            return super()._fetch_range(start, end)
        except PreconditionFailed as error:
            raise FileExpired(filename=self.details["name"], e_tag=self.details.get("ETag")) from error
