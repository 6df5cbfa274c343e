"""How the text files of a source are written, as users say it: in a spec, on the command line, in Python."""

from __future__ import annotations

import codecs
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

__all__ = ["TextOptions"]


def _codec(name: str) -> str:
    try:
        codecs.lookup(name)
    except LookupError:
        raise ValueError(f"there is no encoding {name!r}; for example utf-8, latin-1, cp1252, utf-16") from None
    try:
        "".encode(name)
    except LookupError:  # a codec of bytes to bytes, such as hex
        raise ValueError(f"{name!r} is no encoding of text; for example utf-8, latin-1, cp1252, utf-16") from None
    return name


def _one_mark(mark: str) -> str:
    if len(mark) != 1 or not mark.isascii() or mark.isalnum() or mark in '\r\n\0 "':
        raise ValueError(f"{mark!r} is no delimiter: it is one ASCII character, neither a letter nor a digit")
    return mark


class TextOptions(BaseModel):
    """How the text files of a source are written. What is None is told by each file's beginning.

    Attributes:
        delimiter: Between the fields of CSV.
        quote: Around fields that hold a delimiter or a line end; doubled within them.
        decimal: The decimal mark of numbers. With a comma, a number that has a point is refused.
        encoding: Any of Python's. None is UTF-8, with or without a byte order mark, and refuses anything else.
        nulls: Words that stand for null where they are not quoted. An empty unquoted field always does.
        header: Whether the first line names the columns; or their names, where it does not. False names them c0, c1 and
            so on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    delimiter: Annotated[str, AfterValidator(_one_mark)] | None = None
    quote: Literal['"', "'"] | None = None
    decimal: Literal[".", ","] | None = None
    encoding: Annotated[str, AfterValidator(_codec)] | None = None
    nulls: tuple[str, ...] = ()
    header: bool | Annotated[tuple[str, ...], Field(min_length=1)] | None = None
