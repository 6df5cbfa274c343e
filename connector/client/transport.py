"""From a request to its response or our error: retries, lost replies, bodies that break off."""

from __future__ import annotations

import functools
import logging
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from aiobotocore.response import AioStreamingBody
from botocore import exceptions as boto

from tierlake.connector.client.answers import has_requested_bytes, understood
from tierlake.connector.client.attempts import RETRIED, Attempt, carried, was_sent
from tierlake.connector.client.error_mapping import Target, raise_translated, translated
from tierlake.connector.client.native import NATIVE_OPERATIONS, NotUnderstoodError
from tierlake.connector.client.native_body import NativeBody
from tierlake.connector.client.resumable_body import Body
from tierlake.connector.client.retry import RetryBudget, in_doubt, retrying
from tierlake.connector.errors import (
    BadCredentials,
    BucketNotFound,
    LakeError,
    ObjectNotFound,
    PreconditionFailed,
    ServerError,
)
from tierlake.connector.observe import hooks, tracing
from tierlake.connector.profiles.detect import known_profile, observe

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from tierlake.connector.client.connection import Connection
    from tierlake.connector.settings import LakeSettings

logger = logging.getLogger("tierlake.connector")

_are_whole: ContextVar[bool] = ContextVar("are_whole", default=False)
_HEADS = frozenset({"head_object", "head_bucket"})
_DIAGNOSED_STATUS = frozenset({400, 403})


@contextmanager
def whole_responses() -> Iterator[None]:
    """Within it responses have all headers, which only aiobotocore shows."""
    token = _are_whole.set(True)
    try:
        yield
    finally:
        _are_whole.reset(token)


class Transport:
    """Makes requests as they are.

    Args:
        settings: The retry budget, and the server's profile.
        connection: The client.

    Attributes:
        budget: How long a request is tried again.
    """

    def __init__(self, settings: LakeSettings, connection: Connection) -> None:
        self.budget = RetryBudget(attempts=settings.max_retries + 1, seconds=settings.retry_seconds)
        self._profile_name = settings.profile
        self._engine = settings.engine
        self._connection = connection

    async def request(
        self, operation: str, request: dict[str, Any], own_write: Callable[[], Awaitable[dict[str, Any] | None]]
    ) -> Any:
        """Make a request until it succeeds, fails for good, or the retry budget is spent.

        Args:
            operation: Botocore's method name, such as `put_object`.
            request: Its parameters.
            own_write: Called after a lost reply; returns the response to the write if it had taken effect.

        Returns:
            A response in botocore's shape; the body of a `get_object` continues after its connection breaks.

        Raises:
            LakeError: What went wrong.
        """
        client = await self._connection.client(request.get("Bucket"))
        store = self._native_store(client, operation, request)
        if logger.isEnabledFor(logging.DEBUG):
            place = "/".join(request[name] for name in ("Bucket", "Key") if request.get(name))
            logger.debug("%s %s", operation, place)
        doubts: list[Exception] = []
        number = 0

        async def attempt() -> Any:
            nonlocal number
            number += 1
            try:
                return await self._once(client, store, operation, request, number)
            except Exception as error:
                doubts.extend([error] if in_doubt(error) else [])
                raise

        patiently = functools.partial(self._patiently, client, operation, request)
        try:
            response = await patiently(attempt)
        except BadCredentials:
            self._connection.retire()
            raise
        except (PreconditionFailed, ObjectNotFound) as error:
            own = await own_write() if doubts else None
            if own is None:
                if isinstance(error, PreconditionFailed):
                    error.after_lost_reply = bool(doubts)
                raise
            response = own
        if operation == "get_object":
            patiently = functools.partial(patiently, is_body=True)
            response["Body"] = self._body(client, store, request, response, patiently)
        return response

    async def _once(
        self, client: Any, store: Any | None, operation: str, request: dict[str, Any], number: int = 1
    ) -> Any:
        """Make a request once; each request of this process passes here.

        Raises:
            ServerError: The answer has other bytes than the requested ones.
        """
        response = await self._made(client, store, operation, request, number)
        if operation == "get_object" and not has_requested_bytes(request, response):
            if isinstance(response["Body"], AioStreamingBody):
                response["Body"].close()
            raise _other_bytes(request, response)
        return response

    async def _made(self, client: Any, store: Any | None, operation: str, request: dict[str, Any], number: int) -> Any:
        """Make a request by obstore where it has a store for it."""
        if store is not None:
            native = functools.partial(self._connection.native(client).request, store, operation, request)
            try:
                return await self._observed("obstore", native, client, operation, request, number)
            except NotUnderstoodError as reason:
                logger.debug("%s by aiobotocore: %s", operation, reason)
        make = functools.partial(understood, operation, functools.partial(getattr(client, operation), **request))
        response = await self._observed("aiobotocore", make, client, operation, request, number)
        observe(client.meta.endpoint_url, response)
        return response

    async def _observed(
        self,
        engine: str,
        make: Callable[[], Awaitable[Any]],
        client: Any,
        operation: str,
        request: dict[str, Any],
        number: int,
    ) -> Any:
        """Make a request, and tell what became of it, where anybody wants to know."""
        if not hooks.is_on():
            return await make()
        attempt = self._attempt(client, operation, request, number, engine)
        try:
            response = await make()
        except BaseException as error:
            attempt.stopped(error)
            raise
        attempt.answered(response)
        return response

    def _attempt(
        self, client: Any, operation: str, request: Mapping[str, Any], number: int = 1, engine: str = "aiobotocore"
    ) -> Attempt:
        return Attempt(
            operation,
            request,
            number=number,
            profile_name=self._profile_name,
            endpoint=client.meta.endpoint_url,
            engine=engine,
        )

    def _native_store(self, client: Any, operation: str, request: dict[str, Any]) -> Any | None:
        """The obstore store for a request; None for one that aiobotocore makes.

        The first request to an endpoint is such a one: only aiobotocore shows the header that names the server.
        """
        if operation not in NATIVE_OPERATIONS or self._engine != "native" or _are_whole.get():
            return None
        if known_profile(self._profile_name, client.meta.endpoint_url) is None:
            return None
        return self._connection.native(client).store_for(operation, request, client)

    def _body(
        self, client: Any, store: Any | None, request: dict[str, Any], response: dict[str, Any], patiently: Any
    ) -> Any:
        """The body of a response, which continues after its connection breaks."""
        if isinstance(response["Body"], AioStreamingBody):
            get = functools.partial(self._once, client, None, "get_object")
            return Body(response, request, get=get, patiently=patiently)
        get = functools.partial(self._once, client, store, "get_object")
        return NativeBody(response, request, get=get, patiently=patiently, endpoint=client.meta.endpoint_url)

    async def _patiently(
        self,
        client: Any,
        operation: str,
        request: Mapping[str, Any],
        attempt: Callable[[], Awaitable[Any]],
        *,
        is_body: bool = False,
    ) -> Any:
        def on_retry(error: Exception) -> None:
            if hooks.is_on():
                ours = translated(error, self._target(client, operation, request))
                self._report(client, operation, request, error, ours, is_body=is_body, is_retried=True)

        try:
            return await retrying(attempt, self.budget, on_retry)
        except RETRIED as error:
            if isinstance(error, boto.ClientError):
                observe(client.meta.endpoint_url, error.response)
            target = self._target(client, operation, request)
            try:
                if operation in _HEADS and target.bucket is not None:
                    await self._diagnose(client, error, target)
                raise_translated(error, target)
            except Exception as ours:
                self._report(client, operation, request, error, ours, is_body=is_body, is_retried=False)
                raise

    def _report(
        self,
        client: Any,
        operation: str,
        request: Mapping[str, Any],
        error: Exception,
        ours: Exception,
        *,
        is_body: bool,
        is_retried: bool,
    ) -> None:
        """Report a failed request under our error, or a body that broke off."""
        attempt = carried(error)
        if attempt is None and is_body and hooks.is_on() and was_sent(error) and not tracing.is_reported(ours):
            attempt = self._attempt(client, operation, request)
        else:
            is_body = False
        if attempt is None:
            return
        code = ours.code if isinstance(ours, LakeError) else type(ours).__name__
        request_id = getattr(ours, "request_id", None)
        attempt.refused(error, code, is_retried=is_retried, is_body=is_body, request_id=request_id)
        if not is_retried:
            tracing.mark_reported(ours)

    def _target(self, client: Any, operation: str, request: Mapping[str, Any]) -> Target:
        endpoint = client.meta.endpoint_url
        known = known_profile(self._profile_name, endpoint)
        return Target(
            operation=operation,
            endpoint=endpoint,
            server=known.name if known else "the server",
            bucket=request.get("Bucket"),
            key=request.get("Key"),
            must_not_exist=request.get("IfNoneMatch") == "*",
        )

    async def _diagnose(self, client: Any, error: Exception, target: Target) -> None:
        """Find out whether a failed HEAD, which has no body, was refused for its credentials; makes a GET."""
        if not isinstance(error, boto.ClientError):
            return
        if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") not in _DIAGNOSED_STATUS:
            return
        request = {"Bucket": target.bucket, "Prefix": target.key or "", "MaxKeys": 1}
        try:
            await self._once(client, None, "list_objects_v2", request)
        except RETRIED as diagnosis:
            better = translated(diagnosis, target)
            self._report(client, "list_objects_v2", request, diagnosis, better, is_body=False, is_retried=True)
            if isinstance(better, BadCredentials | BucketNotFound):
                raise better from diagnosis


def _other_bytes(request: Mapping[str, Any], response: Mapping[str, Any]) -> ServerError:
    had = response.get("ContentRange") or f"{response['ContentLength']} bytes without a range"
    return ServerError(
        f"get_object: the request was for {request['Range']}, and the answer has {had}",
        hint="Check the endpoint: it may be no S3 server, or something between here and it answers in its place",
        bucket=request["Bucket"],
        key=request["Key"],
    )
