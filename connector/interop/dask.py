"""Dask: ``lake://`` paths on workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tierlake.connector.client.credentials import settled
from tierlake.connector.client.plain_values import plain_options
from tierlake.connector.interop.options import Options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tierlake.connector.client.store import Store


def dask_options(store: Store, arguments: Mapping[str, Any]) -> Options:
    """``storage_options`` for ``lake://`` paths that mean the same on a worker with another environment."""
    # What is said in the constructor is as plain as what comes from the environment; equal options, equal instance.
    options = plain_options({"settings": settled(store)}, include_secrets=True)
    asked = plain_options(arguments, include_secrets=True)
    left = {"asynchronous", "loop", "skip_instance_cache", "settings"}
    return Options({**options, **{name: value for name, value in asked.items() if name not in left}})
