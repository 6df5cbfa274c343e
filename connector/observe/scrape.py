"""What an endpoint of metrics shows: the requests by operation, and the gauges of datasets."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections import defaultdict
from dataclasses import dataclass, replace
from itertools import pairwise
from math import isfinite, isnan
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from tierlake.connector.errors import EndpointUnreachable, InvalidSetting, ServerError
from tierlake.connector.observe.instruments import PREFIX
from tierlake.connector.observe.tally import Requests, together
from tierlake.connector.urls import check_endpoint_url

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Scrape", "histogram_quantile", "parsed", "scrape"]

_SECONDS: Final = 10.0
_BYTES_MAX: Final = 64 << 20
_RESPONSE_TIME: Final = f"{PREFIX}response_time_seconds_bucket"
_COUNTERS: Final = {
    "request_count": "requests",
    "retry_count": "retries",
    "throttle_count": "throttles",
    "sent_bytes": "sent_bytes",
    "received_bytes": "received_bytes",
}
"""Counters by the field that they add to; errors are told apart by their kind."""
_KINDS: Final = {"failure": "errors", "answer": "answers"}

Buckets = dict[float, float]
"""Of a histogram, how many values are at most each bound."""


@dataclass(frozen=True, slots=True)
class Scrape:
    """What an endpoint shows.

    Attributes:
        operations: The requests by operation, in order.
        total: All requests.
        gauges: Of each dataset, the gauges by their name and tier; the tier is empty where they have none.
    """

    operations: tuple[Requests, ...]
    total: Requests
    gauges: Mapping[str, Mapping[tuple[str, str], float]]


def scrape(url: str, seconds: float = _SECONDS) -> Scrape:
    """Look at an endpoint.

    Args:
        url: `http://HOST:PORT`, with a path or without.
        seconds: The longest wait for it.

    Raises:
        InvalidSetting: The URL is none, or what is there are no metrics of tierlake.
        EndpointUnreachable: Nobody answers.
        ServerError: It answers with an error.
    """
    check_endpoint_url(url, "the endpoint of metrics")
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise InvalidSetting(f"{url!r} is no endpoint of metrics", hint="Write http://HOST:PORT")
    place = url if parts.path.strip("/") else f"{url.rstrip('/')}/metrics"
    return parsed(_text(place, seconds), place)


def _text(url: str, seconds: float) -> str:
    try:
        with urllib.request.urlopen(url, timeout=seconds) as response:  # noqa: S310 -- http or https
            return str(response.read(_BYTES_MAX).decode("utf-8", "replace"))
    except urllib.error.HTTPError as error:
        raise ServerError(f"{url} answers {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        message = f"{url} cannot be read: {getattr(error, 'reason', None) or error}"
        raise EndpointUnreachable(message, hint="Look whether the process runs, and serves this port") from error


def parsed(text: str, place: str) -> Scrape:
    """The metrics in a text of Prometheus's format.

    Args:
        text: The text.
        place: Where it comes from, for the error.

    Raises:
        InvalidSetting: It has none of ours, or its parser is not installed.
    """
    try:
        from prometheus_client.parser import text_string_to_metric_families
    except ImportError as error:
        message = f"{place}: a look at metrics needs the package {error.name}"
        raise InvalidSetting(message, hint="pip install 'tierlake[observe]'") from error

    try:
        families = text_string_to_metric_families(text)
        samples = [(one.name, one.labels, one.value) for family in families for one in family.samples]
    except (ValueError, KeyError, IndexError) as error:
        raise InvalidSetting(f"{place} shows no metrics: {error}") from error
    ours = [one for one in samples if one[0].startswith(PREFIX) and isfinite(one[2])]
    if not ours:
        raise InvalidSetting(f"{place} shows no metrics of tierlake")
    try:
        return _gathered(ours)
    except (KeyError, ValueError) as error:
        raise InvalidSetting(f"{place} shows a histogram without its bounds: {error}") from error


def _gathered(samples: Iterable[tuple[str, Mapping[str, str], float]]) -> Scrape:
    sums: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    times: dict[str, Buckets] = defaultdict(lambda: defaultdict(float))
    gauges: dict[str, dict[tuple[str, str], float]] = defaultdict(dict)
    for name, labels, value in samples:
        operation, short = labels.get("operation", ""), name.removeprefix(PREFIX).removesuffix("_total")
        if name == _RESPONSE_TIME:
            times[operation][_bound(labels["le"])] += value
        elif short == "error_count":
            sums[operation][_KINDS.get(labels.get("kind", ""), "errors")] += int(value)
        elif short in _COUNTERS:
            sums[operation][_COUNTERS[short]] += int(value)
        elif labels.get("dataset") and not name.endswith("_total"):
            gauges[labels["dataset"]][short, labels.get("tier", "")] = value
    operations = tuple(_requests(name, sums[name], times[name]) for name in sorted(sums))
    every: Buckets = defaultdict(float)
    for buckets in times.values():
        for bound, count in buckets.items():
            every[bound] += count
    return Scrape(operations, together(operations, *_percentiles(every)), gauges)


def _bound(text: str) -> float:
    bound = float(text)
    if isnan(bound):
        raise ValueError(text)
    return bound


def _requests(operation: str, sums: Mapping[str, int], times: Buckets) -> Requests:
    p50, p95, p99 = _percentiles(times)
    return replace(Requests(operation, **sums), p50=p50, p95=p95, p99=p99)


def _percentiles(buckets: Buckets) -> tuple[float | None, float | None, float | None]:
    return histogram_quantile(buckets, 0.5), histogram_quantile(buckets, 0.95), histogram_quantile(buckets, 0.99)


def histogram_quantile(buckets: Buckets, share: float) -> float | None:
    """A quantile as Prometheus computes it: within its bucket, values are evenly spread.

    Args:
        buckets: How many values are at most each bound.
        share: From 0 to 1.

    Returns:
        The largest bound for a value above it; None of no values.
    """
    ordered = [(0.0, 0.0), *sorted(buckets.items())]
    rank = share * ordered[-1][1]
    if not ordered[-1][1]:
        return None
    for (low, before), (high, count) in pairwise(ordered):
        if count >= rank and count > before:
            return low if high == float("inf") else low + (high - low) * (rank - before) / (count - before)
    return ordered[-1][0]
