"""Bytes of a text file as the CSV tokeniser can take them: UTF-8, checked, with marks where lines would be lost.

Arrow's tokeniser tells neither a blank line from a row of empty fields nor a quote that is never closed. A blank line
gets a NUL, which no text may hold, and the file's end a line of two. Both come out again as rows that are none.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from typing import TYPE_CHECKING, Any

from tierlake.pipelines.errors import SourceError
from tierlake.pipelines.model.text_options import TextOptions
from tierlake.pipelines.sources.text_format import sniffed

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BLANK", "END", "CleanText", "count_lines"]

BLANK, END = "\0", "\0\0"
_BETWEEN_LINES = re.compile(rb"(?<=\n)(?=[\r\n])|(?<=\r)(?=\r)")
_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_MAGIC = (
    (b"\x1f\x8b", "compressed with gzip", ".csv.gz or .jsonl.gz"),
    (b"\x28\xb5\x2f\xfd", "compressed with Zstandard", ".csv.zst or .jsonl.zst"),
    (b"\xfd7zXZ", "compressed with xz", ".csv.xz or .jsonl.xz"),
    (b"BZh", "compressed with bzip2", ".csv.bz2 or .jsonl.bz2"),
    (b"PK\x03\x04", "a zip archive or a spreadsheet", ".zip; a spreadsheet has to be saved as CSV"),
    (b"PAR1", "Parquet", ".parquet"),
    (b"ARROW1", "Arrow IPC", ".arrow"),
)
"""How files begin that are no text, and how their names have to end."""
_NO_TEXT = frozenset({*range(9), *range(14, 32)})
_WINDOWS_ONLY = range(0x80, 0xA0)
"""Control characters in Latin-1, where Windows has its quotes and its euro."""
_LOOKED_AT = 64
_BLOCK_BYTES = 1 << 20
_LONGEST_LETTER = 4


def count_lines(text: bytes) -> int:
    r"""How many lines end in it: at \n, \r\n, or \r alone, as editors have it."""
    ends = text.count(b"\n")
    return ends + text.count(b"\r") - text.count(b"\r\n") if b"\r" in text else ends


def _say(encoding: str) -> str:
    return f"say encoding: {encoding} under `text:` (--encoding {encoding})"


class CleanText:
    """A text file that is read once, forwards, as UTF-8.

    Args:
        path: For messages.
        read: Gives at most so many bytes of the file, expanded; none at its end.
        encoding: Of the file; None is UTF-8.
        delimiter: What usually stands between the fields of such a file; none for JSON.

    Attributes:
        has_quotes: Whether `read` met a quote.
        has_blanks: Whether `read` marked a blank line.
        is_at_end: Whether `read` met the end.
        failure: Why `read` stopped before the end.
    """

    closed = False

    def __init__(self, path: str, read: Callable[[int], bytes], encoding: str | None, delimiter: str = "") -> None:
        self._path = path
        self._read_file = read
        self._encoding = encoding
        self._decoder: Any = codecs.getincrementaldecoder(encoding)() if encoding else None
        self._is_first = True
        self._is_read = False
        self._pending = b""
        self._head = b""
        self._lines = 1
        self._line_begun = b""
        self._marked = bytearray()
        self._last = b"\n"
        self._delimiter, self._quote = delimiter, b'"'
        self._names: list[str] = []
        self.has_quotes = False
        self.has_blanks = False
        self.is_at_end = False
        self.failure: Exception | None = None
        self._is_stopped = False

    def head(self, size: int) -> bytes:
        """The beginning, without taking it: at least so many bytes, or all there is."""
        while len(self._head) < size and (more := self._next()):
            self._head += more
        return self._head

    def skip(self, size: int) -> None:
        """Take so many bytes of the head away."""
        self._head = self._head[size:]

    def describe(self, delimiter: str, quote: str, names: list[str]) -> None:
        """How the rows are written: what `has_quotes` looks for, and what messages name."""
        self._delimiter, self._quote, self._names = delimiter, quote.encode(), names

    def taken(self) -> bytes:
        """The next bytes, as they are; none at the end.

        Raises:
            SourceError: They are no text in the file's encoding.
        """
        if self._head:
            text, self._head = self._head, b""
            return text
        return self._next()

    def read(self, size: int = -1) -> bytes:
        """The next bytes, marked; none at the end, after `stop`, and after a `failure`."""
        try:
            while not (self.is_at_end or self._is_stopped) and (size < 0 or len(self._marked) < size):
                self._mark(self.taken())
        except Exception as error:  # noqa: BLE001 - raised by whoever made the thread
            self.failure = error
            self.stop()
        if self._is_stopped:
            return b""
        end = len(self._marked) if size < 0 else size
        given = bytes(self._marked[:end])
        del self._marked[:end]
        return given

    def stop(self) -> None:
        """Let `read` give nothing more."""
        self._is_stopped = True

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """Never backwards."""
        return False

    def close(self) -> None:
        """Nothing more is read; whoever opened the file closes it."""
        self.closed = True

    def _mark(self, text: bytes) -> None:
        if not text:
            self._marked += b"" if self._last in b"\r\n" else b"\n"
            self._marked += END.encode() + b"\n"
            self.is_at_end = True
            return
        self.has_quotes = self.has_quotes or self._quote in text
        marked = self._last + text
        if b"\n\n" in marked or b"\n\r" in marked or b"\r\r" in marked:
            self.has_blanks = True
            marked = _BETWEEN_LINES.sub(BLANK.encode(), marked)
        self._marked += marked[1:]
        self._last = text[-1:]

    def _next(self) -> bytes:
        """UTF-8 in whole letters and line ends; none at the end."""
        while not self._is_read:
            block = self._read_file(_BLOCK_BYTES)
            self._is_read = not block
            data = self._pending + block
            if self._is_first and not self._is_read and len(data) < _LONGEST_LETTER:
                self._pending = data
                continue
            text = self._whole(self._recoded(data) if self._decoder else self._without_mark(data))
            if 0 in text:
                self._refuse_nul(text)
            if text:
                self._lines += count_lines(text)
                end = max(text.rfind(b"\n"), text.rfind(b"\r")) + 1
                self._line_begun = text[end:] if end else self._line_begun + text
                return text
        return b""

    def _without_mark(self, data: bytes) -> bytes:
        if not self._is_first:
            return data
        self._is_first = False
        for mark, name in _BOMS:
            if data.startswith(mark):
                message = f"cannot read {self._path}: it begins with the byte order mark of {name.upper()}"
                raise SourceError(message, hint=_say(name))
        if any(byte in _NO_TEXT for byte in data[:_LOOKED_AT]):
            for magic, kind, ending in _MAGIC:
                if data.startswith(magic):
                    message = f"cannot read {self._path}: it is {kind}, not text"
                    raise SourceError(message, hint=f"rename it: its name has to end in {ending}")
        return data.removeprefix(codecs.BOM_UTF8)

    def _recoded(self, data: bytes) -> bytes:
        try:
            text: str = self._decoder.decode(data, final=self._is_read)
        except UnicodeError as error:
            message = f"cannot read {self._path}: after line {self._lines:,} it is not {self._encoding} ({error})"
            raise SourceError(message, hint="name the encoding that the file has") from error
        self._pending = b""
        if self._is_first and text:
            self._is_first = False
            text = text.removeprefix("\ufeff")
        return text.encode("utf-8", "replace")

    def _whole(self, data: bytes) -> bytes:
        """Without the half of a letter or line end that the data ends in, which waits for the next block."""
        if not data.isascii() and not self._decoder:
            try:
                data.decode()
            except UnicodeDecodeError as error:
                is_cut = error.reason == "unexpected end of data" and len(data) - error.start < _LONGEST_LETTER
                if self._is_read or not is_cut:
                    self._refuse(data[: error.start], error)
                self._pending = data[error.start :]
                return data[: error.start]
        if data.endswith(b"\r") and not self._is_read and not self._decoder:
            self._pending = b"\r"
            return data[:-1]
        self._pending = b"" if not self._decoder else self._pending
        return data

    def _refuse(self, before: bytes, error: UnicodeDecodeError) -> None:
        message = f"cannot read {self._path}: {self._place(before)} is not UTF-8"
        windows = any(byte in _WINDOWS_ONLY for byte in error.object[error.start :])
        hint = f"if it is of Windows, {_say('cp1252')}" if windows else f"if it is Latin-1, {_say('latin-1')}"
        raise SourceError(message, hint=hint) from error

    def _refuse_nul(self, text: bytes) -> None:
        message = f"cannot read {self._path}: {self._place(text[: text.index(0)])} has a NUL byte"
        hint = "no text has one" if self._encoding else f"if it is UTF-16, {_say('utf-16')}"
        raise SourceError(message, hint=hint)

    def _place(self, before: bytes) -> str:
        """Line and column of what follows some bytes of this block."""
        line = f"line {self._lines + count_lines(before):,}"
        begun = before[max(before.rfind(b"\n"), before.rfind(b"\r")) + 1 :]
        if self._delimiter and not self._names:
            return line + self._column_in_head(before)
        row = (begun if len(begun) < len(before) else self._line_begun + begun).decode("utf-8", "replace")
        if not self._names:
            return line
        try:
            reader = csv.reader(io.StringIO(row), delimiter=self._delimiter, quotechar=self._quote.decode())
            fields = next(reader, [""])
        except csv.Error:
            return line
        name = self._names[len(fields) - 1] if len(fields) <= len(self._names) else ""
        return f"{line}, column {name}," if name else line

    def _column_in_head(self, before: bytes) -> str:
        """The column's name where the header has not been looked at yet."""
        text = (self._head + before).decode("utf-8", "replace")
        dialect = sniffed(text, self._delimiter, TextOptions())
        try:
            rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=dialect.delimiter, quotechar=dialect.quote))
        except csv.Error:
            return ""
        names = next((row for row in rows if row), [])
        row = rows[-1] if not text.endswith(("\n", "\r")) else [""]
        return f", column {names[len(row) - 1]}," if len(rows) > 1 and len(row) <= len(names) else ""
