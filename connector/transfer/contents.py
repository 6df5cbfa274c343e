"""What is known of an object's content before it is opened.

A file begins with one GET. Whoever holds an object's bytes already, or is fetching them, adds a source to the
filesystem's `contents`, and the file begins with these:

    fs.contents.add(source)

A source is asked in the thread that opens the file, so it must answer at once and make no request of its own. Its
answer is one of four:

- the whole object as a `Piece`: the file makes no request at all.
- the last bytes of the object, such as a Parquet footer, as a `Piece` with the object's `size`. If its `etag` is empty,
  the file takes the one that its first request tells, and checks the size.
- a `Future` of either. The file waits for it; if it fails, or is cancelled, the file makes its own request.
- None: nothing is known.

`fs.contents.tail` is asked after the store refused to read an object because it is archived. It may make requests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from tierlake.connector.transfer.ranges import Piece


class Pending(Protocol):
    """A piece that is on its way, such as a `concurrent.futures.Future`."""

    def result(self) -> Piece:
        """Wait for the piece."""


Known: TypeAlias = "Piece | Pending | None"


class Source(Protocol):
    """Knows contents of objects."""

    def __call__(self, path: str, version_id: str | None) -> Known:
        """What is known of an object.

        Args:
            path: `bucket/key`.
            version_id: The version to open; None is the latest.
        """


class Contents:
    """The sources of a filesystem, asked in the order in which they were added.

    Args:
        tail: The last bytes of an archived object, and its size.
    """

    def __init__(self, tail: Callable[[str], tuple[bytes, int] | None] = lambda _: None) -> None:
        self.tail = tail
        self._sources: tuple[Source, ...] = ()

    def add(self, source: Source) -> None:
        """Ask one more source."""
        self._sources = (*self._sources, source)

    def of(self, path: str, version_id: str | None) -> Known:
        """What the first source that knows an object knows of it.

        Args:
            path: `bucket/key`.
            version_id: The version to open; None is the latest.
        """
        answers = (source(path, version_id) for source in self._sources)
        return next((known for known in answers if known is not None), None)
