"""A file that is compressed while it is written."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from fsspec.compression import compr
from fsspec.core import get_compression

if TYPE_CHECKING:
    from tierlake.connector.transfer.writing_file import WritingFile


class CompressedFile(io.BufferedIOBase):
    """A compressor and the file that it writes, closed together.

    fsspec returns the compressor alone, and leaves the file below to Python's garbage collection.

    Args:
        compressor: The compressor.
        file: The file that it writes.
    """

    def __init__(self, compressor: Any, file: WritingFile) -> None:
        self._compressor, self._file = compressor, file

    def writable(self) -> bool:
        """True: the file is for writing only."""
        return True

    def write(self, data: Any) -> int:
        """Write bytes."""
        return int(self._compressor.write(data))

    def flush(self) -> None:
        """Pass on the bytes that can be passed on."""
        if not self.closed and not self._file.closed:
            self._compressor.flush()

    def tell(self) -> int:
        """The number of bytes written to it."""
        return int(self._compressor.tell())

    def close(self) -> None:
        """End the compressed stream, then the file."""
        if self.closed:
            return
        try:
            self._compressor.close()
            self._file.close()
        finally:
            if not self._file.closed:
                self._file.discard()
            super().close()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close it; after a failure the object stays as it was."""
        try:
            self._compressor.close()
        finally:
            self._file.__exit__(kind)
            super().close()


def compressed(file: WritingFile, path: str, mode: str, compression: str) -> WritingFile | CompressedFile:
    """A file that compresses what is written to it.

    Args:
        file: The open file.
        path: The file's path, whose suffix decides for `infer`.
        mode: The mode in which it was opened.
        compression: A name that fsspec knows, or `infer`.

    Raises:
        ValueError: There is no such compression.
    """
    name = get_compression(path, compression)
    return file if name is None else CompressedFile(compr[name](file, mode=mode[0]), file)
