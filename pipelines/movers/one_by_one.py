"""Movers of other distributions that move one file a call, in threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from tierlake.connector.errors import LakeError
from tierlake.pipelines.runtime.parallel import in_threads

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tierlake.connector.client.concurrency import Failure
    from tierlake.connector.filesystem import LakeFileSystem
    from tierlake.pipelines.model.spec import Tier
    from tierlake.pipelines.movers.protocol import Move, Moved

__all__ = ["FileMover", "OneByOne"]

_AT_ONCE = 16


class FileMover(Protocol):
    """A `Mover` with `move` in place of `move_many`."""

    @property
    def priced_as(self) -> Literal["copy", "tag"]:
        """See `Mover`."""

    def obstacle(self, fs: LakeFileSystem, root: str, tier: Tier, storage_class: str) -> str | None:
        """See `Mover`."""

    def move(self, fs: LakeFileSystem, path: str, move: Move) -> Moved:
        """Move one file, unless it is on its way already.

        Raises:
            PreconditionFailed: The object is another one by now.
        """


class OneByOne:
    """Such a mover as a `Mover`."""

    def __init__(self, mover: FileMover) -> None:
        """Move by it."""
        self._mover = mover

    @property
    def priced_as(self) -> Literal["copy", "tag"]:
        """As the mover says."""
        return self._mover.priced_as

    def obstacle(self, fs: LakeFileSystem, root: str, tier: Tier, storage_class: str) -> str | None:
        """As the mover says."""
        return self._mover.obstacle(fs, root, tier, storage_class)

    def move_many(self, fs: LakeFileSystem, moves: Mapping[str, Move]) -> Iterator[tuple[str, Moved | Failure]]:
        """Some at once; see `Mover.move_many`."""

        def one(path: str) -> tuple[str, Moved | Failure]:
            try:
                return path, self._mover.move(fs, path, moves[path])
            except (LakeError, OSError) as error:
                return path, error

        paths = list(moves)
        for start in range(0, len(paths), _AT_ONCE):
            yield from in_threads(one, paths[start : start + _AT_ONCE], at_once=_AT_ONCE, name="mover")
