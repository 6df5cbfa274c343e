"""The place of `connector.doctor.probes`: a bucket or a prefix, with requests without policy, guards or retries."""

from __future__ import annotations

import uuid
from typing import Any

from botocore import exceptions as boto

_MISSING = frozenset({"NotImplemented", "MethodNotAllowed", "MalformedXML", "UnsupportedOperation"})
_MISSING_STATUS = frozenset({405, 501})
PRECONDITION = frozenset({404, 409, 412})
FIRST = b"first"
YES, NO = "yes", "no"


class Place:
    """A place in which probes may write and delete.

    Args:
        client: An aiobotocore client for the server.
        bucket: A bucket.
        prefix: Prefix of all keys; empty if the bucket is our own.
    """

    def __init__(self, client: Any, bucket: str, prefix: str = "") -> None:
        self.bucket = bucket
        self.prefix = prefix
        self._client = client

    def key(self, name: str = "x") -> str:
        """A new key."""
        return f"{self.prefix}{uuid.uuid4().hex[:8]}/{name}"

    async def ask(self, operation: str, **params: Any) -> dict[str, Any]:
        """Make a request, in our bucket unless it names another one."""
        answer: dict[str, Any] = await getattr(self._client, operation)(**{"Bucket": self.bucket, **params})
        return answer

    async def put(self, **params: Any) -> str:
        """Write an object and return its key."""
        key = params.pop("Key", None) or self.key()
        await self.ask("put_object", **{"Body": FIRST, **params, "Key": key})
        return str(key)

    async def takes(self, operation: str, **params: Any) -> str:
        """`yes` if a request succeeds."""
        try:
            await self.ask(operation, **params)
        except boto.ClientError as error:
            return f"{NO}: {code_of(error)}"
        return YES

    async def has(self, operation: str, **params: Any) -> str:
        """`yes` if the server knows the request, even if it refuses it."""
        try:
            await self.ask(operation, **params)
        except boto.ClientError as error:
            code, status = code_of(error), status_of(error)
            return f"{NO}: {code}" if code in _MISSING or status in _MISSING_STATUS else YES
        return YES

    async def refuses(self, operation: str, **params: Any) -> str:
        """`yes` if a request fails on its precondition, `no: ignored` if it succeeds."""
        try:
            await self.ask(operation, **params)
        except boto.ClientError as error:
            return YES if status_of(error) in PRECONDITION else f"{NO}: {code_of(error)}"
        return f"{NO}: ignored"

    def source(self, key: str) -> dict[str, str]:
        """A copy's source in our bucket."""
        return {"Bucket": self.bucket, "Key": key}

    async def presigned(self, key: str) -> str:
        """A URL for a GET."""
        params = {"Bucket": self.bucket, "Key": key}
        url: str = await self._client.generate_presigned_url("get_object", Params=params, ExpiresIn=60)
        return url

    @property
    def region(self) -> str:
        """The client's region."""
        return str(self._client.meta.region_name)

    @property
    def endpoint(self) -> str:
        """The client's endpoint."""
        return str(self._client.meta.endpoint_url)


def code_of(error: boto.ClientError) -> str:
    """The server's error code."""
    return str(error.response.get("Error", {}).get("Code", "?"))


def status_of(error: boto.ClientError) -> int:
    """The HTTP status."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
