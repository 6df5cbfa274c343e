"""polars, whose cloud options are those of the Rust crate object_store and two more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tierlake.connector.interop.object_store import delta_options

if TYPE_CHECKING:
    from tierlake.connector.client.store import Store
    from tierlake.connector.interop.options import Options


def polars_options(store: Store) -> Options:
    """`storage_options` of polars' scan, read and write functions, on `s3://` paths."""
    options = delta_options(store)
    options.pop("aws_conditional_put")
    # These two are polars' own; their values are numbers.
    options["max_retries"] = store.settings.max_retries
    options["retry_timeout_ms"] = int(1000 * store.settings.retry_seconds)
    del options["retry_timeout"]
    return options
