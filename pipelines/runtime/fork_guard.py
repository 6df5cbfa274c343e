"""The Rust libraries do not survive a fork: deltalake panics in the child. Say so before it does (DESIGN section 2)."""

from __future__ import annotations

import os

from tierlake.pipelines.errors import ForkedProcess

__all__ = ["refuse_after_fork", "rust_is_in_use"]

_used = False
_forked_after_use = False


def rust_is_in_use() -> None:
    """Note that this process runs the Rust libraries' threads from now on."""
    global _used  # noqa: PLW0603 - a fact about the process, set once
    _used = True


def refuse_after_fork() -> None:
    """Raise in a child that was forked from a process which used the Rust libraries.

    Raises:
        ForkedProcess: It names spawn as the way out.
    """
    if _forked_after_use:
        message = (
            "this process was forked from one that had already used a table; the Rust libraries hang or panic in it"
        )
        raise ForkedProcess(message, hint="start workers with multiprocessing's 'spawn' or 'forkserver'")


def _after_fork_in_child() -> None:
    global _forked_after_use  # noqa: PLW0603 - a fact about the process, set once
    _forked_after_use = _used


os.register_at_fork(after_in_child=_after_fork_in_child)
