"""Dask: `lake://` paths on workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tierlake.connector.client.credentials import settled
from tierlake.connector.client.plain_values import plain_options
from tierlake.connector.interop.options import Options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tierlake.connector.client.store import Store


def dask_options(store: Store, arguments: Mapping[str, Any]) -> Options:
    """`storage_options` for `lake://` paths that mean the same on a worker with another environment.

    Args:
        store: The store.
        arguments: Arguments of the filesystem's constructor; they win over the settings.
    """
    # Arguments are rendered like settings, so that a worker with equal options has one instance.
    settings = plain_options({"settings": settled(store)}, include_secrets=True)
    explicit = plain_options(arguments, include_secrets=True)
    local = {"asynchronous", "loop", "skip_instance_cache", "settings"}
    return Options({**settings, **{name: value for name, value in explicit.items() if name not in local}})
