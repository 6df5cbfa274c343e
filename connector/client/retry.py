"""Retries: exponential backoff with full jitter, within a budget, and only where it can help."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import s3fs.core
from aiohttp import ClientConnectionError, ClientConnectorError
from botocore import exceptions as boto

from tierlake.connector.observe import depth

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

_RETRIED_STATUS = frozenset({429, 500, 502, 503, 504})
_DOUBTED_STATUS = frozenset({500, 502, 504})
_RETRIED_CODES = frozenset(
    {
        "InternalError",
        "RequestTimeout",
        "RequestLimitExceeded",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequests",
        "XAmzContentSHA256Mismatch",
    }
)
_NO_CONNECTION = (boto.EndpointConnectionError, boto.ConnectTimeoutError, boto.ProxyConnectionError)
_JITTER = random.SystemRandom()


@dataclass(frozen=True)
class RetryBudget:
    """How long to go on trying.

    Args:
        attempts: The maximum number of tries, the first included.
        seconds: No try starts later than this after the first.
        connect_attempts: The maximum number of tries if nothing listens, which should be reported soon.
        silent_attempts: The maximum number of tries if connecting times out.
        first_wait: Upper bound of the first wait, in seconds; each further one doubles it.
        longest_wait: Upper bound of any wait, in seconds.
    """

    attempts: int = 5
    seconds: float = 30.0
    connect_attempts: int = 3
    silent_attempts: int = 2
    first_wait: float = 0.1
    longest_wait: float = 5.0

    def allowed(self, error: Exception) -> int:
        """The maximum number of tries after this error."""
        if isinstance(error, boto.ConnectTimeoutError):
            return min(self.attempts, self.silent_attempts)
        return min(self.attempts, self.connect_attempts) if _never_connected(error) else self.attempts

    def wait(self, tries: int) -> float:
        """Seconds to wait after so many tries: anything up to the bound (full jitter)."""
        return _JITTER.uniform(0, min(self.longest_wait, self.first_wait * 2**tries))


def retryable(error: Exception) -> bool:
    """Whether the same request may succeed later: throttling, 5xx, time-outs and broken connections."""
    if isinstance(error, boto.SSLError):
        return False
    if isinstance(error, boto.ClientError):
        code = error.response.get("Error", {}).get("Code", "")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in _RETRIED_CODES or status in _RETRIED_STATUS or "reduce your request rate" in str(error):
            return True
    elif isinstance(error, (*_NO_CONNECTION, *s3fs.core.S3_RETRYABLE_ERRORS)):
        return True
    return bool(s3fs.core.CUSTOM_ERROR_HANDLER(error))


def in_doubt(error: Exception) -> bool:
    """Whether the request may have taken effect, and only its reply is missing."""
    if isinstance(error, boto.ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return status in _DOUBTED_STATUS
    return retryable(error) and not _never_connected(error)


def _never_connected(error: Exception) -> bool:
    if isinstance(error, boto.EndpointConnectionError):  # also raised for a connection that was reset
        return not _broke(error)
    return isinstance(error, _NO_CONNECTION)


def _broke(error: Exception) -> bool:
    """Whether a connection existed and ended before the response."""
    cause = error.kwargs.get("error") if isinstance(error, boto.EndpointConnectionError) else None
    return isinstance(error, boto.ConnectionClosedError) or (
        isinstance(cause, ClientConnectionError) and not isinstance(cause, ClientConnectorError)
    )


async def retrying(
    attempt: Callable[[], Awaitable[T]], budget: RetryBudget, on_retry: Callable[[Exception], None]
) -> T:
    """Run a request until it succeeds, fails for good, or the budget is spent.

    The first broken connection does not count: it may have been kept open and have ended in between, which says nothing
    about the server.

    Args:
        attempt: Makes the request once.
        budget: How long to go on.
        on_retry: Called with each error after which the request is made again.

    Returns:
        The request's response.

    Raises:
        Exception: The error of the last try.
    """
    started = time.monotonic()
    tries, kept = 0, True
    while True:
        try:
            return await attempt()
        except Exception as error:
            if kept and _broke(error):
                kept = False
                on_retry(error)
                continue
            tries += 1
            wait = budget.wait(tries)
            spent = time.monotonic() - started + wait
            if tries >= budget.allowed(error) or spent > budget.seconds or not retryable(error):
                raise
            on_retry(error)
            with depth.within("waiting"):
                await asyncio.sleep(wait)
