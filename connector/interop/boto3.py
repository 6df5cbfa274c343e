"""boto3, with the write policy applied to its requests before they are signed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tierlake.connector.interop.options import region
from tierlake.connector.policy.encryption import SseC
from tierlake.connector.policy.parameters import applied, copy_source

if TYPE_CHECKING:
    from tierlake.connector.client.store import Store

_CREATES = {"PutObject": "put_object", "CreateMultipartUpload": "create_multipart_upload", "CopyObject": "copy_object"}
_READS = ("GetObject", "HeadObject", "UploadPart", "UploadPartCopy")


def boto3_client(store: Store) -> Any:
    """A boto3 client for S3 whose writes get the encryption, class and tags of the write policy."""
    import boto3
    from botocore import UNSIGNED
    from botocore.config import Config

    settings = store.settings
    kwargs = settings.boto3_kwargs()
    config = kwargs["config"].merge(Config(signature_version=UNSIGNED if store.anon else "s3v4"))
    session = boto3.session.Session(profile_name=None if settings.key else store.aws_profile)
    client = session.client("s3", **{**kwargs, "config": config, "region_name": region(store)})
    for operation in _CREATES:
        client.meta.events.register(f"provide-client-params.s3.{operation}", _Policed(store))
    for operation in _READS:
        client.meta.events.register(f"provide-client-params.s3.{operation}", _keyed(store))
    return client


class _Policed:
    """Adds the write policy's parameters to a boto3 request that creates an object."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __call__(self, params: dict[str, Any], model: Any, **_event: Any) -> dict[str, Any]:
        if not {"Bucket", "Key"} <= params.keys():
            return params  # boto3 reports missing parameters
        policy = self._store.policy.for_key(params["Bucket"], params["Key"])
        request = applied(_CREATES[model.name], params, policy)
        if not self._store.profile_sync().kms_bucket_key:
            request.pop("BucketKeyEnabled", None)
        return {**_source_key(self._store, request), **request}


def _keyed(store: Store) -> Any:
    def with_customer_key(params: dict[str, Any], model: Any, **_event: Any) -> dict[str, Any]:
        if not {"Bucket", "Key"} <= params.keys():
            return params
        held = store.policy.for_key(params["Bucket"], params["Key"]).encryption
        own = held.headers() if isinstance(held, SseC) else {}
        source = _source_key(store, params) if model.name == "UploadPartCopy" else {}
        return {**own, **source, **params}

    return with_customer_key


def _source_key(store: Store, params: dict[str, Any]) -> dict[str, Any]:
    source = copy_source(params)
    held = store.policy.for_key(*source).encryption if source is not None else None
    return held.source_headers() if isinstance(held, SseC) else {}
