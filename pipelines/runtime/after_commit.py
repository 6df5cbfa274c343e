"""What comes after a commit, or a move: it may fail, and the commit is made all the same.

    with noting() as notes:
        commit = handle.table.commit(change)
        with after_commit("the journal does not have its confirmation, and the log tells it"):
            handle.journal.write(record)
    return Result(..., notes=tuple(notes))

An act whose commit is made does not fail by what the store refuses afterwards: nobody would believe the rows that are
there. It says what is lacking, in its result and in the log.
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
    """Collect what could not be done after the commits within."""
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
    """Around one thing to be done after a commit.

    Args:
        consequence: What is so where it fails, and what to do about it, as the rest of "done, but ...".
    """
    try:
        yield
    except (LakeError, OSError) as error:
        note = f"done, but {consequence}: {error}"
        logger.warning("%s", note)
        notes = _notes.get()
        if notes is not None:
            notes.append(note)
