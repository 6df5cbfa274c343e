"""Text in the columns of a terminal: how wide it is, how it breaks, and what must not reach a terminal as it is."""

from __future__ import annotations

import re
from typing import Final

from tierlake.connector.redact import printable

__all__ = ["blanked", "escaped", "escaped_lines", "padded", "width_of", "wrapped"]

_STYLE: Final = re.compile("(\x1b\\[[012]m)")
"""What `tierlake.pipelines.runtime.page` writes, and nothing that moves a cursor or hides a line."""


def width_of(text: str) -> int:
    """Columns of a terminal; characters of East Asia take two."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def padded(text: str, width: int, *, right: bool = False) -> str:
    """The text with the blanks that it lacks."""
    blanks = " " * (width - width_of(text))
    return blanks + text if right else text + blanks


def escaped(text: str) -> str:
    """The text in one line, without what controls a terminal: `printable`, and line feeds and tabs escaped as well.

    Args:
        text: From people or files, such as a key or a hold's reason.
    """
    return text if text.isprintable() else printable(text).replace("\n", "\\n").replace("\t", "\\t")


def blanked(text: str) -> str:
    """The text in one line, with a blank for each character that is not printable, such as a line break."""
    return text if text.isprintable() else "".join(char if char.isprintable() else " " for char in text)


def escaped_lines(text: str, *, is_coloured: bool) -> str:
    """Lines without what controls a terminal, but for the styles of a page with colours.

    All else stays as it is: a program may read them.
    """
    return "\n".join(
        line if line.isprintable() else _escaped_line(line, is_coloured=is_coloured) for line in text.split("\n")
    )


def _escaped_line(line: str, *, is_coloured: bool) -> str:
    parts = _STYLE.split(line) if is_coloured else [line]
    return "".join(part if place % 2 else printable(part) for place, part in enumerate(parts))


def wrapped(text: str, width: int) -> list[str]:
    """The text in lines of a width, broken between words, or within a word that is longer than a line."""
    lines = [""]
    for word in text.split(" "):
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if width_of(joined) <= width:
            lines[-1] = joined
            continue
        if lines[-1]:
            lines.append("")
        for char in word:
            if lines[-1] and width_of(lines[-1] + char) > width:
                lines.append("")
            lines[-1] += char
    return lines
