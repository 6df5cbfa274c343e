"""Customers' keys (SSE-C): every request for an object that has a key must send it, and no other request may.

The write policy holds the keys. A key is not sent over plain HTTP to a server that refuses it there, nor in a request
on which the server fails.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from tierlake.connector.errors import InvalidSetting, UnsupportedByServer
from tierlake.connector.policy.encryption import SSE_C_KEY_BYTES, SseC
from tierlake.connector.policy.parameters import copy_source
from tierlake.connector.profiles.detect import known_profile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tierlake.connector.policy.rules import WritePolicy
    from tierlake.connector.profiles import Profile

KEYED_READS = frozenset({"get_object", "head_object"})
_COPIES = frozenset({"copy_object", "upload_part_copy"})
_CONDITIONS = frozenset({"IfMatch", "IfNoneMatch"})
_KEYS = frozenset({"SSECustomerKey", "CopySourceSSECustomerKey"})
_KEYED = KEYED_READS | _COPIES | {"put_object", "create_multipart_upload", "upload_part"}


class CustomerKeys:
    """The customers' keys of one store.

    Args:
        policy: The write policy, which holds them.
        profile: The name of the server's profile; None if the endpoint tells the server.
        endpoint: The endpoint; None is AWS.
    """

    def __init__(self, policy: WritePolicy, profile: str | None, endpoint: str | None) -> None:
        self._policy = policy
        self._profile_name = profile
        self._endpoint = endpoint
        encryptions = (policy.encryption, *(rule.encryption for rule in policy.rules))
        self._are_held = any(isinstance(encryption, SseC) for encryption in encryptions)

    def added_to(self, operation: str, request: dict[str, Any], chosen: Mapping[str, Any]) -> dict[str, Any]:
        """A request with the customer's keys that it needs; the caller's parameters stay.

        Args:
            operation: Botocore's method name.
            request: The request's parameters.
            chosen: The encryption with which the request's upload was created.

        Raises:
            UnsupportedByServer: The server accepts no key in this way.
        """
        # MinIO (seen) needs the key to look at the object of a condition
        is_conditional_end = operation == "complete_multipart_upload" and not _CONDITIONS.isdisjoint(request)
        if operation not in _KEYED and not is_conditional_end:
            return request
        if not self._are_held and operation in KEYED_READS:
            self.check(operation, request)
            return request
        added: dict[str, Any] = {}
        if operation in {"upload_part", "upload_part_copy"} or is_conditional_end:
            added = {name: value for name, value in chosen.items() if name.startswith("SSECustomer")}
        elif operation in KEYED_READS:
            held = self._policy.for_key(request["Bucket"], request["Key"]).encryption
            added = held.headers() if isinstance(held, SseC) and not self._in_clear() else {}
        source = copy_source(request) if operation in _COPIES else None
        if source is not None:
            held = self._policy.for_key(source[0], unquote(source[1])).encryption
            added |= held.source_headers() if isinstance(held, SseC) else {}
        completed = {**added, **request}
        self.check(operation, completed)
        return {n: v for n, v in completed.items() if v is not None or not n.startswith("CopySourceSSE")}

    def check(self, operation: str, request: Mapping[str, Any]) -> None:
        """Refuse invalid keys, and requests that this server refuses or turns into an unreadable object.

        Raises:
            InvalidSetting: A key has the wrong length, or no algorithm.
            UnsupportedByServer: The server cannot do it; the hint says what to use instead.
        """
        if _KEYS.isdisjoint(request):
            return
        bucket, key = request["Bucket"], request["Key"]
        keys = {name: value for name, value in request.items() if name in _KEYS and value is not None}
        for name, value in keys.items():
            if len(value.encode() if isinstance(value, str) else value) != SSE_C_KEY_BYTES:
                raise InvalidSetting(f"{name} must be {SSE_C_KEY_BYTES} bytes", bucket=bucket, key=key)
            if request.get(name.replace("Key", "Algorithm")) != "AES256":
                raise InvalidSetting(f"{name} needs its algorithm, which is 'AES256'", bucket=bucket, key=key)
        profile = self._profile()
        if not keys or profile is None:
            return
        if self._in_clear():
            raise UnsupportedByServer(
                profile.name, "SSE-C over plain HTTP", "an https endpoint", bucket=bucket, key=key
            )
        if operation == "upload_part_copy" and not profile.sse_c_part_copies:
            raise UnsupportedByServer(
                profile.name,
                "copying parts under a customer's key (SSE-C)",
                "a whole copy, up to 5 GB, or reading and writing the bytes",
                bucket=bucket,
                key=key,
            )

    def _in_clear(self) -> bool:
        """Whether a key would be sent over plain HTTP to a server that accepts none there."""
        profile = self._profile()
        plain = bool(self._endpoint) and urlsplit(self._endpoint).scheme == "http"
        return plain and profile is not None and not profile.sse_c_over_http

    def _profile(self) -> Profile | None:
        return known_profile(self._profile_name, self._endpoint)
