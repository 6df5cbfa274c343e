"""A file that is compressed while it is written."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from fsspec.compression import compr
from fsspec.core import get_compression

if TYPE_CHECKING:
    from tierlake.connector.transfer.open_file import LakeFile


class CompressedFile(io.BufferedIOBase):
    """A compressor together with the file that it writes: what ends the one ends the other.

    fsspec gives out the compressor alone, and the file below ends when Python gets round to it.

    Args:
        compressor: What takes the bytes.
        file: Where it puts them.
    """

    def __init__(self, compressor: Any, file: LakeFile) -> None:
        self._compressor, self._file = compressor, file

    def writable(self) -> bool:
        """It is for writing only."""
        return True

    def write(self, data: Any) -> int:
        """Take bytes."""
        return int(self._compressor.write(data))

    def flush(self) -> None:
        """Hand on what can be handed on."""
        if not self.closed and not self._file.closed:
            self._compressor.flush()

    def tell(self) -> int:
        """How many bytes it has taken."""
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


def compressed(file: LakeFile, path: str, mode: str, compression: str) -> LakeFile | CompressedFile:
    """A file that compresses what it is given.

    Args:
        file: The open file.
        path: Its path; `infer` looks at its end.
        mode: What it was opened for.
        compression: A name that fsspec knows, or `infer`.

    Raises:
        ValueError: There is no such compression.
    """
    name = get_compression(path, compression)
    return file if name is None else CompressedFile(compr[name](file, mode=mode[0]), file)
