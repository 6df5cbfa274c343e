"""A sink that adds up the requests of one command, for `tierlake stats`."""

from __future__ import annotations

import random
import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Final

from tierlake.connector.observe.events import RequestEvent
from tierlake.connector.observe.metrics import is_throttled

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tierlake.connector.observe.events import Event

__all__ = ["Requests", "Tally", "quantile", "together"]

_SAMPLES_MAX: Final = 10_000
"""So many response times of an operation are kept; of more, a random choice."""


@dataclass(frozen=True, slots=True)
class Requests:
    """The requests of one operation.

    Attributes:
        operation: Botocore's name.
        requests: How many went over the wire; each attempt is one.
        errors: How many failed.
        answers: How many had an error that callers ask for, such as that an object is not there.
        retries: How many were made again.
        throttles: How many were asked to slow down.
        sent_bytes: Bytes of their bodies.
        received_bytes: Bytes of objects in their responses.
        p50: The median of the seconds to the head of the response; None without a request.
        p95: Likewise, of 95%.
        p99: Likewise, of 99%.
    """

    operation: str
    requests: int = 0
    errors: int = 0
    answers: int = 0
    retries: int = 0
    throttles: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


@dataclass(slots=True)
class _Sums:
    counts: Counter[str] = field(default_factory=Counter)
    times: list[float] = field(default_factory=list)

    def add(self, event: RequestEvent) -> None:
        if not event.is_body:
            self.counts["requests"] += 1
            self.counts["sent_bytes"] += event.bytes_sent
            self.counts["received_bytes"] += event.bytes_received
            self._note(event.seconds)
        self.counts["errors"] += event.kind == "failure"
        self.counts["answers"] += event.kind == "answer"
        self.counts["retries"] += event.is_retried
        self.counts["throttles"] += is_throttled(event)

    def _note(self, seconds: float) -> None:
        if len(self.times) < _SAMPLES_MAX:
            self.times.append(seconds)
        elif (place := random.randrange(self.counts["requests"])) < _SAMPLES_MAX:  # noqa: S311 -- a sample
            self.times[place] = seconds


class Tally:
    """Adds requests up, by operation."""

    name = "tally"

    def __init__(self) -> None:
        self._sums: dict[str, _Sums] = defaultdict(_Sums)
        self._lock = threading.Lock()

    def take(self, event: Event) -> None:
        """Add a request."""
        if isinstance(event, RequestEvent):
            with self._lock:
                self._sums[event.operation].add(event)

    def flush(self, seconds: float) -> None:
        """There is nothing to wait for."""

    def close(self) -> None:
        """There is nothing to give back."""

    def operations(self) -> tuple[Requests, ...]:
        """The requests so far, by operation, in order."""
        with self._lock:
            return tuple(_summary(name, [sums]) for name, sums in sorted(self._sums.items()))

    def total(self) -> Requests:
        """All requests so far."""
        with self._lock:
            return _summary("all", list(self._sums.values()))


def together(operations: Iterable[Requests], p50: float | None, p95: float | None, p99: float | None) -> Requests:
    """All operations as one, with the percentiles that are known of them."""
    chosen = list(operations)
    names = [one.name for one in fields(Requests) if one.type == "int"]
    sums = {name: sum(getattr(one, name) for one in chosen) for name in names}
    return replace(Requests("all", **sums), p50=p50, p95=p95, p99=p99)


def quantile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that this share of them does not exceed; None of none.

    Args:
        values: In ascending order.
        share: From 0 to 1.
    """
    if not values:
        return None
    return values[max(0, -int(-share * len(values) // 1) - 1)]


def _summary(operation: str, parts: Sequence[_Sums]) -> Requests:
    times = sorted(value for part in parts for value in part.times)
    sums = sum((part.counts for part in parts), Counter())
    p50, p95, p99 = (quantile(times, share) for share in (0.5, 0.95, 0.99))
    return replace(Requests(operation, **sums), p50=p50, p95=p95, p99=p99)
