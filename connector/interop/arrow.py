"""Arrow's own S3 client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tierlake.connector.client.credentials import settled
from tierlake.connector.errors import UnsupportedByServer
from tierlake.connector.interop.options import default_encryption, region
from tierlake.connector.policy.encryption import SseC

if TYPE_CHECKING:
    from tierlake.connector.client.store import Store


def arrow_filesystem(store: Store) -> Any:
    """Arrow's own S3 client, in C++: for reading objects that are not encrypted with a customer's key.

    It cannot request an encryption: its writes get the bucket's default. To write by the policy, pass this
    filesystem itself to pyarrow.

    Returns:
        A `pyarrow.fs.S3FileSystem`.

    Raises:
        UnsupportedByServer: The policy's default is SSE-C.
    """
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

    if isinstance(default_encryption(store), SseC):
        raise UnsupportedByServer("pyarrow", "SSE-C", "filesystem=fs, which pyarrow takes as it is")
    settings = settled(store)
    place = urlsplit(store.endpoint or "https://")
    return S3FileSystem(
        access_key=settings.key,
        secret_key=settings.secret_of("secret"),
        session_token=settings.secret_of("token"),
        anonymous=bool(store.anon),
        region=region(store),
        scheme=place.scheme,
        endpoint_override=place.netloc or None,
        connect_timeout=settings.connect_timeout,
        request_timeout=settings.read_timeout,
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=settings.max_retries + 1),
    )
