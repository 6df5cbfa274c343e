"""Live views: how a layer above tells `lake://` which files of a table are committed.

The connector knows nothing of table formats. It knows that a *provider* recognises a table by a prefix
below its root (`marker`) and can open it; from then on listings inside the table are answered by the
provider's `LiveTable` and not by the object store.

A provider is registered by entry point, in the distribution that ships it::

    [project.entry-points."tierlake.views"]
    delta = "tierlake.pipelines.tables.live_view:DeltaViews"          # a class or an instance

or from Python, for instance in a test::

    from tierlake.connector.listing.views import register_view
    register_view("mine", MyViews())

Loading a provider must be cheap (it happens when the first path is looked at): import heavy libraries
inside `ViewProvider.open`.

A provider may also have a method `is_current(fs, root, version)`: whether the table is in the state that
`LiveTable.version` named. Who walks a large table for longer than a listing is fresh then pays for a
look, and not for reading the table again. Called in a worker thread; False where it cannot tell.
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
        """Whatever tells two states of the table apart; compared for equality only."""
        ...

    def files(self) -> Mapping[str, int]:
        """The committed files: path below the root, as the key is spelt in the store, to size in bytes."""
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
        """An object below the root that is kept beside a table, such as `_lake/dataset.json`; empty where none is.

        Where it is without the marker, and `describes` a table, reads ask `open`, which knows whether the
        table has lost its marker.
        """
        ...

    def describes(self, description: bytes) -> bool:
        """Whether a description is one of a table of this format; no request is made.

        Args:
            description: The bytes of the object `description`.
        """
        ...

    @property
    def proofs(self) -> Collection[str]:
        """Objects below the root of which each table has one: asked for where listing is denied."""
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
            FileNotFoundError: The marker is there, but no table is (any more); the path is then not a table. Any
                other error ends the read that asked.
        """
        ...


_registered: dict[str, ViewProvider] = {}
_lock = threading.Lock()
_state = {"loaded": False}


def register_view(name: str, provider: ViewProvider) -> None:
    """Add a provider, or replace the one of that name."""
    with _lock:
        _registered[name] = provider


def unregister_view(name: str) -> None:
    """Forget a provider that `register_view` added."""
    with _lock:
        _registered.pop(name, None)


async def load_view_providers() -> None:
    """Load the providers in a thread, once: their modules take longer to import than an event loop may stand still."""
    if not _state["loaded"]:
        await asyncio.to_thread(view_providers)


def loaded_view_providers() -> tuple[ViewProvider, ...]:
    """The providers, as far as anybody has needed them."""
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
