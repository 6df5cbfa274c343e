"""What the gateway has to know of tables, and the hook that it calls after a write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable


class Guard(Protocol):
    """Knows the tables of a store."""

    async def refuse_writes(self, paths: Iterable[str], *, creating: bool = False) -> None:
        """Raise where a write or delete of these objects would break a table."""

    def naming(self, path: str) -> str | None:
        """The root of the table to which this file belongs; None if that is not known without a request."""

    def written(self, path: str) -> None:
        """Take note of a written object: what is known of the folders above it may be outdated."""


class Unguarded:
    """The guard of a store without tables."""

    async def refuse_writes(self, paths: Iterable[str], *, creating: bool = False) -> None:
        """Refuse nothing."""

    def naming(self, path: str) -> str | None:  # noqa: ARG002 -- as in `Guard`
        """None: there is no table."""
        return None

    def written(self, path: str) -> None:
        """Do nothing: no folder is known."""
