"""Live views: a layer above tells `lake://` which files of a table are committed.

The connector knows nothing of table formats. A *provider* recognises a table by a prefix below its root
(`marker`) and opens it. From then on the provider's `LiveTable` answers listings inside the table, and not
the object store.

A provider is registered by entry point, in the distribution that ships it::

    [project.entry-points."tierlake.views"]
    delta = "tierlake.pipelines.tables.live_view:DeltaViews"          # a class or an instance

or from Python, for instance in a test::

    from tierlake.connector.listing.views import register_view
    register_view("mine", MyViews())

Loading a provider must be cheap (it happens when the first path is looked at): import heavy libraries
inside `ViewProvider.open`.

A provider may also have a method `is_current(fs, root, version)`: whether the table is in the state that
`LiveTable.version` names. A walk over a large table that takes longer than a listing is fresh then costs a
look instead of another read of the table. The method runs in a worker thread, and returns False if it cannot
tell.

A provider may have a method `tail(fs, root, path, size)` too: the last bytes of a committed file, where it keeps them
apart from the file, or None. It is called in a worker thread, only after the store refused to read the file because it
is archived. Readers then learn the file's schema.
"""

from __future__ import annotations

import asyncio
import threading
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from fsspec import AbstractFileSystem

ENTRY_POINT_GROUP = "tierlake.views"


@runtime_checkable
class LiveTable(Protocol):
    """One table at one version."""

    @property
    def root(self) -> str:
        """The table's root as `bucket/prefix`, without a slash at the end."""
        ...

    @property
    def version(self) -> object:
        """A value that differs between states of the table; compared for equality only."""
        ...

    def files(self) -> Mapping[str, int]:
        """The committed files: size in bytes by path below the root, spelt as in the key."""
        ...


@runtime_checkable
class ViewProvider(Protocol):
    """Recognises and opens tables of one format."""

    @property
    def marker(self) -> str:
        """A prefix below the root that only tables of this format have, such as `_delta_log/`."""
        ...

    @property
    def description(self) -> str:
        """An object below the root that describes a table, such as `_lake/dataset.json`; empty if there is none.

        If it exists without the marker, and `describes` says that it is a table's, reads call `open`, which
        knows whether the table has lost its marker.
        """
        ...

    def describes(self, description: bytes) -> bool:
        """Whether a description is that of a table of this format; makes no request.

        Args:
            description: The bytes of the object `description`.
        """
        ...

    @property
    def proofs(self) -> Collection[str]:
        """Objects below the root, one of which every table has: looked up if listing is denied."""
        ...

    @property
    def hidden(self) -> Collection[str]:
        """Names directly below the root that listings never show, such as `_delta_log` and `_lake`.

        Below them the store itself answers.
        """
        ...

    def open(self, fs: AbstractFileSystem, root: str) -> LiveTable:
        """Read the table's current state.

        Called in a worker thread, so it may block.

        Args:
            fs: A filesystem with the caller's settings, without live views, that may write below `root`.
            root: The table's root as `bucket/prefix`.

        Returns:
            The table as it is now.

        Raises:
            FileNotFoundError: The marker exists without a table, so the path is not a table. Any other error is
                raised to the reader.
        """
        ...


_registered: dict[str, ViewProvider] = {}
_lock = threading.Lock()
_state = {"loaded": False}


def register_view(name: str, provider: ViewProvider) -> None:
    """Add a provider, or replace that of the same name."""
    with _lock:
        _registered[name] = provider


def unregister_view(name: str) -> None:
    """Remove a provider that `register_view` added."""
    with _lock:
        _registered.pop(name, None)


async def load_view_providers() -> None:
    """Load the providers once, in a thread: importing their modules would block the event loop for too long."""
    if not _state["loaded"]:
        await asyncio.to_thread(view_providers)


def are_loaded() -> bool:
    """Whether the providers are loaded."""
    return _state["loaded"]


def loaded_view_providers() -> tuple[ViewProvider, ...]:
    """The providers that are loaded already."""
    return tuple(_registered.values())


def view_providers() -> tuple[ViewProvider, ...]:
    """All providers: those of the entry point group `tierlake.views` and those registered from Python."""
    with _lock:
        if not _state["loaded"]:
            for entry in entry_points(group=ENTRY_POINT_GROUP):
                if entry.name not in _registered:
                    loaded = entry.load()
                    _registered[entry.name] = loaded() if isinstance(loaded, type) else loaded
            _state["loaded"] = True
        return tuple(_registered.values())
