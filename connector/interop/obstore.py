"""The package obstore: a bucket as a store of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tierlake.connector.interop.object_store import object_store_options
from tierlake.connector.interop.options import is_plain_http

if TYPE_CHECKING:
    from tierlake.connector.client.store import Store


def s3_store(store: Store, bucket: str, *, prefix: str | None = None) -> Any:
    """A store of the package `obstore` on one bucket.

    Args:
        store: The store.
        bucket: The bucket.
        prefix: All paths are below it.

    Returns:
        An `obstore.store.S3Store`, whose writes are encrypted as the policy says.
    """
    from datetime import timedelta

    from obstore.store import S3Store

    settings = store.settings
    policy = store.policy.for_key(bucket, f"{prefix or ''}/")
    options = object_store_options(store, policy.encryption)
    config: Any = {name: value for name, value in options.items() if name.startswith("aws_")}
    return S3Store(
        bucket,
        prefix=prefix,
        config=config,
        client_options={
            "allow_http": is_plain_http(store),
            "connect_timeout": timedelta(seconds=settings.connect_timeout),
            "timeout": timedelta(seconds=max(settings.read_timeout, settings.connect_timeout)),
        },
        retry_config={
            "max_retries": settings.max_retries,
            "retry_timeout": timedelta(seconds=settings.retry_seconds),
        },
    )
