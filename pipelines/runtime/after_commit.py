"""Work after a commit or a move, whose failure does not undo the commit.

    with noting() as notes:
        commit = handle.table.commit(change)
        with after_commit("the journal does not have its confirmation, and the log tells it"):
            handle.journal.write(record)
    return Result(..., notes=tuple(notes))

An act whose commit is made does not fail when the store refuses later work: an error would suggest that the rows are
not there. The result and the log name what is missing.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from tierlake.connector.errors import LakeError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["after_commit", "noting"]

logger = logging.getLogger("tierlake.pipelines")

_notes: ContextVar[list[str] | None] = ContextVar("tierlake_notes", default=None)


@contextmanager
def noting() -> Iterator[list[str]]:
    """Collect failures of work after the commits within."""
    outer = _notes.get()
    notes: list[str] = []
    token = _notes.set(notes)
    try:
        yield notes
    finally:
        _notes.reset(token)
        if outer is not None:
            outer += notes


@contextmanager
def after_commit(consequence: str) -> Iterator[None]:
    """Run one piece of work after a commit, and note its failure.

    Args:
        consequence: The consequence of a failure, and what to do about it, as the rest of "done, but ...".
    """
    try:
        yield
    except (LakeError, OSError) as error:
        note = f"done, but {consequence}: {error}"
        logger.warning("%s", note)
        notes = _notes.get()
        if notes is not None:
            notes.append(note)
