"""A file that only its owner can read, replaced at once: a reader sees the old one or the new one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["write_private_file"]


def write_private_file(path: Path, text: str) -> None:
    """Write the file beside its place, and move it there.

    Args:
        path: Its place; only one process at a time may write there.
        text: All of it.
    """
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)
