"""The Rust crate object_store, whose options deltalake, polars and obstore use."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from tierlake.connector.client.credentials import settled
from tierlake.connector.interop.options import Options, default_encryption, is_plain_http, region
from tierlake.connector.policy.encryption import SseC

if TYPE_CHECKING:
    from tierlake.connector.client.store import Store
    from tierlake.connector.policy.encryption import Encryption


def delta_options(store: Store) -> Options:
    """Storage options for `deltalake`, which bound the time of every request.

    Raises:
        BadCredentials: There are no credentials.
    """
    return object_store_options(store, default_encryption(store))


def object_store_options(store: Store, encryption: Encryption) -> Options:
    """Options of an `AmazonS3` store.

    Args:
        store: The store.
        encryption: The encryption of new objects.

    Raises:
        BadCredentials: There are no credentials.
    """
    settings = store.settings
    options = Options(
        **_credentials(store),
        **_encryption(encryption),
        aws_region=region(store),
        aws_conditional_put="etag",
        connect_timeout=f"{settings.connect_timeout:g}s",
        timeout=f"{max(settings.read_timeout, settings.connect_timeout):g}s",
        max_retries=str(settings.max_retries),
        retry_timeout=f"{settings.retry_seconds:g}s",
    )
    if store.endpoint:
        options["aws_endpoint_url"] = store.endpoint
        options["aws_virtual_hosted_style_request"] = "false"
        if is_plain_http(store):
            options["allow_http"] = "true"
    return options


def _credentials(store: Store) -> dict[str, str]:
    if store.anon:
        return {"aws_skip_signature": "true"}
    settings = settled(store)
    options = {
        "aws_access_key_id": settings.key,
        "aws_secret_access_key": settings.secret_of("secret"),
        "aws_session_token": settings.secret_of("token"),
    }
    return {name: value for name, value in options.items() if value}


def _encryption(encryption: Encryption) -> dict[str, str]:
    if isinstance(encryption, SseC):
        return {
            "aws_server_side_encryption": "sse-c",
            "aws_sse_customer_key_base64": base64.b64encode(encryption.key).decode(),
        }
    headers = encryption.headers()
    options = {}
    if "ServerSideEncryption" in headers:
        options["aws_server_side_encryption"] = headers["ServerSideEncryption"]
    if "SSEKMSKeyId" in headers:
        options["aws_sse_kms_key_id"] = headers["SSEKMSKeyId"]
    if headers.get("BucketKeyEnabled"):
        options["aws_sse_bucket_key_enabled"] = "true"
    return options
