"""All metrics, as one table: what dashboards, alerts and documents name is here.

A counter ends in `_total` where Prometheus shows it, as OpenMetrics demands; OpenTelemetry has it without.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

__all__ = ["BUCKETS", "BY_NAME", "INSTRUMENTS", "PREFIX", "Instrument", "Kind"]

Kind: TypeAlias = Literal["counter", "gauge", "histogram"]

PREFIX: Final = "tierlake_"

BUCKETS: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
"""The upper bounds of the histogram's buckets in seconds: a store next door answers in one millisecond, and a request
times out after a minute."""


@dataclass(frozen=True, slots=True)
class Instrument:
    """A metric.

    Attributes:
        name: OpenTelemetry's name.
        kind: What is done with its values.
        unit: As UCUM has it, in braces where it has none.
        labels: The names of its labels.
        description: What it counts.
    """

    name: str
    kind: Kind
    unit: str
    labels: tuple[str, ...]
    description: str

    @property
    def event_name(self) -> str:
        """The name by which `count` and `gauge` know it."""
        return self.name.removeprefix(PREFIX)

    @property
    def scraped_name(self) -> str:
        """The name as Prometheus shows it; a histogram's series end in `_bucket`, `_sum` and `_count`."""
        return f"{self.name}_total" if self.kind == "counter" else self.name


def _counter(name: str, unit: str, labels: str, description: str) -> Instrument:
    return Instrument(PREFIX + name, "counter", unit, tuple(labels.split()), description)


def _gauge(name: str, unit: str, labels: str, description: str) -> Instrument:
    return Instrument(PREFIX + name, "gauge", unit, tuple(labels.split()), description)


INSTRUMENTS: Final = (
    _counter(
        "request_count",
        "{request}",
        "operation status_class server",
        "Requests over the wire; each attempt is one. The status class none stands for no response.",
    ),
    _counter(
        "error_count",
        "{error}",
        "operation code kind server",
        "Failed requests, each attempt, and errors without a request; an answer is one that callers ask for.",
    ),
    Instrument(
        PREFIX + "response_time_seconds",
        "histogram",
        "s",
        ("operation", "status_class", "server"),
        "Time from a request to the head of its response.",
    ),
    _gauge("queue_depth", "{request}", "state", "Requests that are running, or wait for a retry or a place."),
    _counter("retry_count", "{request}", "operation server", "Requests that are tried again."),
    _counter("throttle_count", "{response}", "operation server", "Responses that ask to slow down."),
    _counter("sent_bytes", "By", "operation server", "Bytes of requests' bodies."),
    _counter("received_bytes", "By", "operation server", "Bytes of objects in responses' bodies."),
    _counter("cache_count", "{lookup}", "cache result", "Look-ups in the listing, parquet and footer caches."),
    _counter("commit_count", "{commit}", "format dataset", "Commits to tables."),
    _counter("conflict_count", "{conflict}", "format dataset", "Commits that lost against another writer's."),
    _counter("row_count", "{row}", "outcome dataset", "Rows of ingests, accepted or rejected."),
    _counter("dropped_event_count", "{event}", "sink", "Events that a sink could not take."),
    _gauge("partition_count", "{partition}", "tier dataset", "Partitions in each tier."),
    _gauge("stored_bytes", "By", "tier dataset", "Bytes in each tier."),
    _gauge("stored_rows", "{row}", "tier dataset", "Rows in each tier."),
    _gauge("expiry_backlog", "{partition}", "dataset", "Partitions that retention has ended for, and that are there."),
    _gauge("tiering_backlog", "{partition}", "dataset", "Partitions that are due for another tier."),
    _gauge("saved_dollars_per_month", "{dollar}", "dataset", "Money saved against all partitions in the hot tier."),
    _gauge("incomplete_upload_count", "{upload}", "dataset", "Multipart uploads that nobody completed."),
    _gauge("unencrypted_object_count", "{object}", "dataset", "Objects without the encryption of the policy."),
    _gauge("checkpoint_age_seconds", "s", "dataset", "Time since the log's last checkpoint was written."),
    _gauge("sensor_tick_timestamp_seconds", "s", "sensor", "When a sensor last finished a tick, since 1970."),
    _gauge("figures_timestamp_seconds", "s", "dataset", "When the dataset's gauges were last computed, since 1970."),
)
"""All metrics. A dataset that is not configured to be a label has no gauges, and an empty label in counters."""

BY_NAME: Final = {one.event_name: one for one in INSTRUMENTS}
"""The metrics by the names that `count` and `gauge` take."""
