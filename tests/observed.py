"""A sink that keeps what it takes, for tests that look at events."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tierlake.connector import observe
from tierlake.connector.observe import ErrorEvent, Event, RequestEvent, SpanEvent


class Recorder:
    """Keeps all events.

    Attributes:
        name: As a sink.
        events: In the order in which they happened.
    """

    name = "recorder"

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._lock = threading.Lock()

    def take(self, event: Event) -> None:
        with self._lock:
            self.events.append(event)

    def flush(self, seconds: float) -> None:
        """There is nothing to wait for."""

    def close(self) -> None:
        """There is nothing to give back."""

    @property
    def requests(self) -> list[RequestEvent]:
        """What went over the wire."""
        return [one for one in self.events if isinstance(one, RequestEvent) and not one.is_body]

    @property
    def broken_bodies(self) -> list[RequestEvent]:
        """Bodies of responses that broke off."""
        return [one for one in self.events if isinstance(one, RequestEvent) and one.is_body]

    @property
    def errors(self) -> list[ErrorEvent]:
        """Errors that no request had."""
        return [one for one in self.events if isinstance(one, ErrorEvent)]

    @property
    def spans(self) -> list[SpanEvent]:
        """What has ended."""
        return [one for one in self.events if isinstance(one, SpanEvent)]

    def reports_of(self, code: str) -> list[RequestEvent | ErrorEvent]:
        """The reports of an error that was not tried again."""
        requests = [one for one in self.events if isinstance(one, RequestEvent) and not one.is_retried]
        return [one for one in (*requests, *self.errors) if one.code == code]


@contextmanager
def recording() -> Iterator[Recorder]:
    """Keep what happens meanwhile."""
    recorder = Recorder()
    observe.add(recorder)
    try:
        yield recorder
    finally:
        observe.remove(recorder)
