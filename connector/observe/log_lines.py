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
import random
import time
from typing import TYPE_CHECKING, Any, ClassVar, Final

from tierlake.connector.observe import hooks, tracing
from tierlake.connector.observe.background import BackgroundQueue
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
        self._level, self._sample, self._chance = LEVELS[level], sample, chance
        self._rendered = JsonLines() if as_json else TextLines()
        self._stream = StandardError()
        self._queue = BackgroundQueue(self.name, self._write, queue_max)
        self._loggers = _Loggers(self, self._level)

    def take(self, event: Event | LogRecordEvent) -> None:
        """Put an event into the queue, where it has a line."""
        level = level_of(event)
        if level is None or level < self._level:
            return
        if self._sample < 1 and is_success(event) and self._chance() >= self._sample:  # type: ignore[arg-type] # a record is none
            return
        self._queue.put(event)

    def flush(self, seconds: float) -> None:
        """Wait until the lines so far are written, for so many seconds at most."""
        self._queue.flush(seconds)

    def close(self) -> None:
        """Take no more events; what waits is still written."""
        self._loggers.close()
        self._queue.close()

    def join(self, seconds: float) -> None:
        """Wait until all is written, after `close`."""
        self._queue.join(seconds)

    def _write(self, events: list[Any]) -> None:
        lines = [text for event in events if (text := self._line(event)) is not None]
        if lost := self._queue.lost():
            lines.append(self._rendered(_of_lost(lost)))
        try:
            self._stream.write(lines)
        except (OSError, ValueError):
            hooks.drop(self.name, len(lines))

    def _line(self, event: Event | LogRecordEvent) -> str | None:
        try:
            line = line_of(event)
            return None if line is None else self._rendered(line)
        except Exception:  # noqa: BLE001 -- one line less, and the next ones go on
            hooks.drop(self.name)
            return None


def _of_lost(amount: int) -> Line:
    return Line(logging.WARNING, "Log lines were dropped", time.time(), {"dropped": amount})


# -- our loggers -------------------------------------------------------------------------------------------------------


class _Loggers(logging.Handler):
    """The records of our own loggers, as lines; they still go to the handlers that a program has put elsewhere.

    While one takes another's place there are two of them: the loggers' level is the lowest that one of them wants.
    """

    _open: ClassVar[list[_Loggers]] = []
    _level_before: ClassVar[int] = logging.NOTSET
    _lowered_to: ClassVar[int | None] = None

    def __init__(self, sink: LogLines, level: int) -> None:
        super().__init__(level)
        self._sink = sink
        self._logger = logging.getLogger(_LOGGERS)
        self._open.append(self)
        self._lower()
        self._logger.addHandler(self)

    @classmethod
    def _lower(cls) -> None:
        """Lower the loggers' level as far as it has to be, unless the program has set another one since."""
        logger = logging.getLogger(_LOGGERS)
        if cls._lowered_to is not None and logger.level == cls._lowered_to:
            logger.setLevel(cls._level_before)
        cls._lowered_to = None
        lowest = min((one.level for one in cls._open), default=logging.CRITICAL)
        if cls._open and logger.getEffectiveLevel() > lowest:
            cls._level_before, cls._lowered_to = logger.level, lowest
            logger.setLevel(lowest)

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
        if self in self._open:
            self._open.remove(self)
            self._lower()
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
