"""A table's place as deltalake takes it: a URL, of which a key is not always a part as it stands."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

from tierlake.pipelines.errors import UnsupportedByTable

__all__ = ["delta_url", "is_spelled"]

_MISREAD: Final = re.compile(r"%[0-9A-Fa-f]{2}|[#?\\\x00-\x1f\x7f]|(?:^|/)\.{0,2}(?:/|$)")
"""What deltalake decodes twice, takes for a query, a fragment or a slash in parts of its code, or drops."""


def is_spelled(root: str) -> bool:
    """Whether deltalake takes a root, `bucket/prefix`, for what it is in all that it does."""
    return _MISREAD.search(root) is None


def delta_url(root: str) -> str:
    """The URL of a root, `bucket/prefix`.

    Raises:
        UnsupportedByTable: deltalake would take it for another place, at least in some of what it does.
    """
    if not is_spelled(root):
        message = f"lake://{root} cannot be a Delta table: deltalake would take its name for another one's"
        hint = "choose a name without #, ?, \\, a % before two hexadecimal digits, and segments that are empty or dots"
        raise UnsupportedByTable(message, hint=hint)
    return f"s3://{quote(root)}"
