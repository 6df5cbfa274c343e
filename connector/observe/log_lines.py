"""Events as lines on standard error, in JSON or as text, through structlog.

    {"timestamp": "2026-01-05T09:12:44.018233Z", "level": "info", "message": "Request succeeded",
     "request_id": "17A2", "operation": "get_object", "bucket": "warehouse", "key": "flights/date=2013-07-04/a.parquet",
     "status": 200, "attempt": 1, "bytes": 81230, "duration_ms": 4.1, "partition": "date=2013-07-04", ...}

| level | event |
|---|---|
| debug | the end of a verb of the filesystem; debug records of our loggers |
| info | a request that succeeded or whose error is an answer (not there, there already); the end of a dataset's verb |
| warning | a failed request that is made again; warnings of our loggers |
| error | a request that failed for good; an error without a request that left a verb |

Whoever does the work only puts the event into a queue. A thread makes the line and writes it. What the queue has no
room for is dropped and counted.
"""

from __future__ import annotations

import logging
import os
import queue
import random
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, Final

from tierlake.connector.observe import hooks, tracing
from tierlake.connector.observe.events import ErrorEvent, RequestEvent, SpanEvent
from tierlake.connector.observe.lines import LEVELS, Line, LogRecordEvent, is_success, level_of, line_of
from tierlake.connector.observe.rendering import JsonLines, TextLines
from tierlake.connector.observe.standard_error import StandardError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tierlake.connector.observe.events import Event

__all__ = ["LogLines"]

QUEUE_MAX: Final = 10_000
"""The events that wait for their line."""

_LOGGERS: Final = "tierlake"
_AT_ONCE: Final = 256


class LogLines:
    """The sink of log lines.

    Args:
        as_json: A line is a JSON document; otherwise it is text for people, coloured on a terminal.
        level: The lowest level of a line.
        sample: The share of successful requests that get a line, 0 to 1.
        chance: A random number from 0 to 1, for the sample.
        queue_max: The events that may wait.
    """

    name = "log"

    def __init__(
        self,
        *,
        as_json: bool,
        level: str = "info",
        sample: float = 1.0,
        chance: Callable[[], float] = random.random,
        queue_max: int = QUEUE_MAX,
    ) -> None:
        self._level, self._sample, self._chance, self._queue_max = LEVELS[level], sample, chance, queue_max
        self._rendered = JsonLines() if as_json else TextLines()
        self._begin_anew()
        self._loggers = _Loggers(self, self._level)
        _all.add(self)

    def _begin_anew(self) -> None:
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()  # a put within a put is safe: finalizers log too
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._dropped = 0

    def take(self, event: Event | LogRecordEvent) -> None:
        """Put an event into the queue, where it has a line."""
        level = level_of(event)
        if level is None or level < self._level or self._is_closed:
            return
        if self._sample < 1 and is_success(event) and self._chance() >= self._sample:  # type: ignore[arg-type] # a record is none
            return
        if self._queue.qsize() >= self._queue_max:
            self._dropped += 1
            hooks.drop(self.name)
            return
        self._queue.put(event)
        if self._thread is None:
            self._start()

    def flush(self, seconds: float) -> None:
        """Wait until the lines so far are written, for so many seconds at most."""
        if self._thread is None or not self._thread.is_alive():
            return
        written = threading.Event()
        self._queue.put(written)
        written.wait(seconds)

    def close(self) -> None:
        """Take no more events; what waits is still written."""
        self._is_closed = True
        self._loggers.close()
        self._queue.put(None)

    def _start(self) -> None:
        if not self._starting.acquire(blocking=False):
            return  # whoever has it is starting the thread
        try:
            if self._thread is None:
                thread = threading.Thread(target=self._work, name="tierlake-log", daemon=True)
                thread.start()
                self._thread = thread
        finally:
            self._starting.release()

    def _work(self) -> None:
        standard_error, waiting = StandardError(), self._queue
        while True:
            batch = [waiting.get()]
            while len(batch) < _AT_ONCE:
                try:
                    batch.append(waiting.get_nowait())
                except queue.Empty:
                    break
            lines = [text for event in batch if (text := self._line(event)) is not None]
            if self._dropped:
                amount, self._dropped = self._dropped, 0
                lines.append(self._rendered(_of_dropped(amount)))
            try:
                if lines:
                    standard_error.write(lines)
            except (OSError, ValueError):
                hooks.drop(self.name, len(lines))
            for event in batch:
                if isinstance(event, threading.Event):
                    event.set()
            if None in batch:
                return

    def _line(self, event: Any) -> str | None:
        if not isinstance(event, RequestEvent | SpanEvent | ErrorEvent | LogRecordEvent):
            return None
        try:
            line = line_of(event)
            return None if line is None else self._rendered(line)
        except Exception:  # noqa: BLE001 -- one line less, and the next ones go on
            hooks.drop(self.name)
            return None


_all: Final[weakref.WeakSet[LogLines]] = weakref.WeakSet()


def _begin_anew() -> None:
    """In a forked child there is no thread, and what waits is the parent's to write."""
    for one in _all:
        one._begin_anew()  # noqa: SLF001 -- of this module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


def _of_dropped(amount: int) -> Line:
    return Line(logging.WARNING, "Log lines were dropped", time.time(), {"dropped": amount})


# -- our loggers -------------------------------------------------------------------------------------------------------


class _Loggers(logging.Handler):
    """The records of our own loggers, as lines; they still go to the handlers that a program has put elsewhere."""

    def __init__(self, sink: LogLines, level: int) -> None:
        super().__init__(level)
        self._sink = sink
        self._logger = logging.getLogger(_LOGGERS)
        self._level_before = self._logger.level
        self._is_lowered = self._logger.getEffectiveLevel() > level
        if self._is_lowered:
            self._logger.setLevel(level)
        self._logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        around = tracing.scope()
        self._sink.take(
            LogRecordEvent(
                level=record.levelno,
                message=_text_of(record),
                logger=record.name,
                exception=_exception_of(record),
                occurred=record.created,
                span=around.span,
                fields=around.fields,
            )
        )

    def close(self) -> None:
        self._logger.removeHandler(self)
        if self._is_lowered and self._logger.level == self.level:
            self._logger.setLevel(self._level_before)
        super().close()


def _text_of(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 -- arguments that do not fit the text
        return str(record.msg)


_formatter: Final = logging.Formatter()


def _exception_of(record: logging.LogRecord) -> str | None:
    kind: Iterable[Any] | None = record.exc_info
    return _formatter.formatException(record.exc_info) if kind and record.exc_info and record.exc_info[0] else None
