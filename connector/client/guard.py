"""What the gateway has to know of tables, and whom it tells of what was written; where there are none, nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable


class Guard(Protocol):
    """Knows the tables of a store."""

    async def refuse_writes(self, paths: Iterable[str], *, creating: bool = False) -> None:
        """Raise where a write or delete of these objects would break a table."""

    def naming(self, path: str) -> str | None:
        """The root of a table of whose files this is one, as far as that is known without a request."""

    def written(self, path: str) -> None:
        """An object was written: what was known of the folders above it may no longer hold."""


class Unguarded:
    """No tables."""

    async def refuse_writes(self, paths: Iterable[str], *, creating: bool = False) -> None:
        """Refuse nothing."""

    def naming(self, path: str) -> str | None:  # noqa: ARG002 -- as in `Guard`
        """No table names it."""
        return None

    def written(self, path: str) -> None:
        """Nothing is known of folders."""
