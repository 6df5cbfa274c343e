"""Metrics for a Prometheus push gateway, for processes that end before a scrape: `TIERLAKE_METRICS=pushgateway:URL`.

They are pushed each 15 seconds and at the end of the process, under the job `tierlake` and an instance `HOST:PID`, so
that processes do not replace each other's. A gateway keeps what was pushed until it is deleted there.
"""

from __future__ import annotations

import functools
import os
import socket
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from prometheus_client import push_to_gateway

from tierlake.connector.errors import InvalidSetting
from tierlake.connector.observe.prometheus import registry_of
from tierlake.connector.observe.pushing import Pushing
from tierlake.connector.urls import check_endpoint_url

if TYPE_CHECKING:
    from tierlake.connector.observe.metrics import Metrics

__all__ = ["PushGateway"]

_EACH_SECONDS: Final = 15.0
_TIMEOUT_SECONDS: Final = 5.0
_JOB: Final = "tierlake"


class PushGateway:
    """A push gateway.

    Args:
        url: Its address: `http://HOST:PORT`.
        seconds: From one push to the next.

    Raises:
        InvalidSetting: The address is none, or holds a secret.
    """

    name = "pushgateway"

    def __init__(self, url: str, seconds: float = _EACH_SECONDS) -> None:
        check_endpoint_url(url, "metrics")
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise InvalidSetting("metrics: pushgateway needs a URL", hint="Write pushgateway:http://HOST:PORT")
        self._url, self._seconds = url, seconds
        self._pushing: Pushing | None = None

    def start(self, metrics: Metrics) -> bool:
        """Begin to push."""
        push = functools.partial(
            push_to_gateway,
            self._url,
            job=_JOB,
            registry=registry_of(metrics),
            grouping_key={"instance": f"{socket.gethostname()}:{os.getpid()}"},
            timeout=_TIMEOUT_SECONDS,
        )
        self._pushing = Pushing(self.name, push, self._seconds)
        return True

    def record(self, seconds: float, labels: tuple[str, ...]) -> None:
        """Nothing: a push has sums."""

    def flush(self, seconds: float) -> None:
        """Push now, and wait for so many seconds at most."""
        if self._pushing is not None:
            self._pushing.flush(seconds)

    def close(self) -> None:
        """Push no more."""
        if self._pushing is not None:
            self._pushing.close()
        self._pushing = None

    def abandon(self) -> None:
        """The thread is the parent's."""
        self._pushing = None
