"""A file of spans: `run.json` opens in ui.perfetto.dev, `run.otlp.json` in Jaeger's UI.

    observe.add(TraceFile("run.json"))

Spans are kept in memory and written by `flush`, which runs at the exit of the process. The file is replaced as a whole,
so a reader never sees half of it. Spans that it has already stay, up to a bound, whoever wrote them: several processes
may write to one file, as the steps of a Dagster run do, and take turns by a lock on its folder. `TraceFile.begun`
starts with an empty one.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import weakref
from collections import deque
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tierlake.connector.errors import InvalidSetting
from tierlake.connector.observe import hooks
from tierlake.connector.observe.events import RequestEvent, SpanEvent
from tierlake.connector.observe.finished_spans import finished_span
from tierlake.connector.observe.trace_json import OtlpJson, TraceEvents

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tierlake.connector.observe.events import Event
    from tierlake.connector.observe.trace_json import Document

__all__ = ["SPANS_MAX", "TraceFile"]

SPANS_MAX: Final = 100_000
"""The most spans that wait in memory, and that a file has; later ones are dropped, and of a file the oldest."""
_OTLP_ENDING: Final = ".otlp.json"
_POLL_SECONDS: Final = 0.01
_ENCODER: Final = json.JSONEncoder(separators=(",", ":"))


class TraceFile:
    """Writes spans to a file.

    Args:
        path: The file; a name that ends in `.otlp.json` takes OTLP as JSON, any other one trace events.
        spans_max: The most spans that wait in memory, and that the file has.
    """

    name = "trace_file"

    def __init__(self, path: str | Path, *, spans_max: int = SPANS_MAX) -> None:
        self._path = Path(path).expanduser().absolute()
        self._spans_max = spans_max
        self._begin()
        _all.add(self)

    @classmethod
    def begun(cls, path: str | Path) -> TraceFile:
        """Start with an empty file.

        Raises:
            InvalidSetting: It cannot be written, or is there and holds something else than spans.
        """
        made = cls(path)
        try:
            made._items()
            made._write([])
        except ValueError as error:
            raise InvalidSetting(f"{made._path} holds something else than spans", hint="Name another file") from error
        except OSError as error:
            raise InvalidSetting(f"The trace cannot be written: {error}") from error
        return made

    def _begin(self) -> None:
        """Begin without spans, also in a child process, whose parent writes its own."""
        self._waiting: deque[RequestEvent | SpanEvent] = deque()
        self._document: Document = (
            OtlpJson(os.getpid())
            if self._path.name.endswith(_OTLP_ENDING)
            else TraceEvents(os.getpid(), _process_name())
        )
        self._lock = threading.Lock()

    def take(self, event: Event) -> None:
        """Keep a span; one beyond the bound is dropped, and counted."""
        if not isinstance(event, RequestEvent | SpanEvent):
            return
        if len(self._waiting) >= self._spans_max:
            hooks.drop(self.name)
            return
        self._waiting.append(event)

    def flush(self, seconds: float) -> None:
        """Write what has ended so far; what cannot be written is dropped, and counted.

        Args:
            seconds: The longest wait for other processes that write to the same file.
        """
        with self._lock:
            spans = []
            with suppress(IndexError):
                while True:
                    spans.append(self._waiting.popleft())
            if not spans:
                return
            try:
                with _turn(self._path.parent, seconds):
                    more = self._document.of([finished_span(one) for one in spans])
                    self._write([*self._items(), *more])
            except (OSError, ValueError):
                hooks.drop(self.name, len(spans))

    def close(self) -> None:
        """Write the rest."""
        self.flush(1)

    def _items(self) -> list[Any]:
        """What the file has.

        Raises:
            ValueError: It holds something else than spans.
        """
        try:
            text = self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        if not text.strip():
            return []
        document = json.loads(text)
        items = document.get(self._document.member) if isinstance(document, dict) else None
        if not isinstance(items, list):
            message = "there are no spans in it"
            raise ValueError(message)  # noqa: TRY004 -- json raises it too
        return items

    def _write(self, items: list[Any]) -> None:
        """Replace the file; each item is a line."""
        lines = ",\n".join(map(_ENCODER.encode, self._newest(items)))
        whole = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        with suppress(FileNotFoundError):
            whole.unlink()
        try:
            with whole.open("x", encoding="utf-8") as file:  # in a folder of many, it may be somebody's link elsewhere
                file.write(f'{{"{self._document.member}":[\n{lines}\n]}}\n')
            whole.replace(self._path)
        except BaseException:
            with suppress(OSError):
                whole.unlink()
            raise

    def _newest(self, items: list[Any]) -> list[Any]:
        """The items, without the oldest ones beyond the bound."""
        sizes = [self._document.size(item) for item in items]
        beyond = sum(sizes) - self._spans_max
        kept = []
        for item, size in zip(items, sizes, strict=True):
            if beyond > 0 and size:
                beyond -= size
                hooks.drop(self.name, size)
            else:
                kept.append(item)
        return kept


_all: Final[weakref.WeakSet[TraceFile]] = weakref.WeakSet()


def _begin_anew() -> None:
    for one in list(_all):
        one._begin()  # noqa: SLF001 -- of this module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


@contextmanager
def _turn(folder: Path, seconds: float) -> Iterator[None]:
    """Wait for the turn to write into a folder, where the system has such locks.

    Raises:
        TimeoutError: It took too long.
    """
    try:
        import fcntl
    except ImportError:  # not a POSIX system
        yield
        return
    deadline = time.monotonic() + seconds
    own = os.open(folder, os.O_RDONLY)
    try:
        while True:
            try:
                fcntl.flock(own, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError from None
                time.sleep(_POLL_SECONDS)
        yield
    finally:
        os.close(own)


def _process_name() -> str:
    """The program's name, without its arguments."""
    return Path(sys.argv[0]).name if sys.argv and sys.argv[0] else "python"
