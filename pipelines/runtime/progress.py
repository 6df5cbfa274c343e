"""Progress of long-running work: one kind of event, any listener, a bar on a terminal, a line now and then in a log.

plan.apply(progress=True)                                   # a bar on stderr
plan.apply(progress=lambda step: print(step.done, step.total))
with watched(PlainLines(print)):                            # whatever works within, a line every five seconds
    dataset.verify()
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeAlias

from tierlake.pipelines.runtime import formatting
from tierlake.pipelines.runtime.page import has_colour

if TYPE_CHECKING:
    from rich.progress import Task
    from rich.text import Text

__all__ = ["Listener", "PlainLines", "Progress", "Step", "counting", "reporting", "watched"]

_TELLING_SECONDS: Final = 1.0
"""Before that a rate says nothing."""

_MINUTE: Final = 60
_HOUR: Final = 3600
_BAR_WIDTH: Final = 20


@dataclass(frozen=True, slots=True)
class Step:
    """The progress of some work.

    Attributes:
        operation: The operation, as text: `tiering`, `expiry`.
        done: Items finished, failures included.
        total: All items; 0 where unknown.
        bytes_done: Bytes of the finished items.
        bytes_total: Bytes of all.
        item: The item finished last; None at the start.
    """

    operation: str
    done: int
    total: int
    bytes_done: int
    bytes_total: int
    item: str | None = None

    def pace(self, elapsed: float) -> str:
        """How far the work is, how fast it goes, and how long it takes yet.

        Args:
            elapsed: Seconds since it began.
        """
        parts = [f"{self.done:,} of {self.total:,}" if self.total else f"{self.done:,}"]
        if self.bytes_total:
            parts.append(f"{formatting.size(self.bytes_done)} of {formatting.size(self.bytes_total)}")
        if self.done and elapsed >= _TELLING_SECONDS:
            per_second = self.done / elapsed
            rate = formatting.size(int(self.bytes_done / elapsed)) if self.bytes_done else f"{per_second:,.1f}"
            parts.append(f"{rate}/s")
            if self.done < self.total:
                left = (self.total - self.done) / per_second
                if self.bytes_done and self.bytes_total:
                    left = (self.bytes_total - self.bytes_done) * elapsed / self.bytes_done
                parts.append(f"{_span(left)} left")
        return ", ".join(parts)


def _span(seconds: float) -> str:
    """A span of time as people say it while they wait."""
    whole = math.ceil(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"


Listener: TypeAlias = Callable[[Step], None]
Progress: TypeAlias = bool | Listener
"""True: a bar on stderr. False: silence, unless `watched`. A function: it is called with each step, from one thread."""

_watching: Final[ContextVar[Progress]] = ContextVar("tierlake_progress", default=False)


@contextmanager
def reporting(
    operation: str, *, total: int, bytes_total: int, progress: Progress = False
) -> Iterator[Callable[[str, int], None]]:
    """Report the progress of some work to a listener.

    Args:
        operation: The operation.
        total: All items.
        bytes_total: Bytes of all.
        progress: The listener.

    Yields:
        A function to call with each finished item and its bytes.
    """
    with _listening(operation, progress) as listener:
        step = Step(operation, 0, total, 0, bytes_total)
        listener(step)

        def advance(item: str, size: int) -> None:
            nonlocal step
            step = replace(step, done=step.done + 1, bytes_done=step.bytes_done + size, item=item)
            listener(step)

        yield advance


@contextmanager
def counting(operation: str, *, progress: Progress) -> Iterator[Callable[[int], None]]:
    """Report the progress of work of unknown length to a listener.

    Args:
        operation: The operation.
        progress: The listener.

    Yields:
        A function to call with the number of items done so far.
    """
    with _listening(operation, progress) as listener:
        listener(Step(operation, 0, 0, 0, 0))  # from now on its time counts
        yield lambda done: listener(Step(operation, done, 0, 0, 0))


@contextmanager
def watched(progress: Progress) -> Iterator[None]:
    """Report all work within to a listener, where the work is not given one of its own.

    Work inside of work is not reported: there is one bar at a time.
    """
    token = _watching.set(progress)
    try:
        yield
    finally:
        _watching.reset(token)


@contextmanager
def _listening(operation: str, progress: Progress) -> Iterator[Listener]:
    chosen = progress or _watching.get()
    with watched(progress=False):
        if chosen is False:
            yield lambda _: None
        elif chosen is True:
            with _bar(operation) as listener:
                yield listener
        else:
            yield chosen


@contextmanager
def _bar(operation: str) -> Iterator[Listener]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn
    from rich.text import Text

    class Pace(ProgressColumn):
        def render(self, task: Task) -> Text:
            step: Step = task.fields["step"]
            return Text(step.pace(task.elapsed or 0.0))

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=_BAR_WIDTH),
        Pace(),
        console=Console(stderr=True, no_color=not has_colour(sys.stderr)),
        transient=True,
    ) as bar:
        task = bar.add_task(operation, total=None, step=Step(operation, 0, 0, 0, 0))
        yield lambda step: bar.update(task, total=step.total or None, completed=step.done, step=step)


class PlainLines:
    """A listener that says how work goes on in a line every few seconds; of what ends sooner, nothing."""

    def __init__(
        self, write: Callable[[str], None], *, every_seconds: float = 5.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin to listen.

        Args:
            write: Takes each line.
            every_seconds: The least time between two lines, and before the first.
            clock: Seconds.
        """
        self._write = write
        self._every = every_seconds
        self._clock = clock
        self._last: Step | None = None
        self._began = self._said = 0.0

    def __call__(self, step: Step) -> None:
        """Take a step."""
        now = self._clock()
        if self._last is None or step.operation != self._last.operation or step.done < self._last.done:
            self._began = self._said = now
        elif now - self._said >= self._every:
            self._said = now
            self._write(f"{step.operation}: {step.pace(now - self._began)}")
        self._last = step
