"""Progress of long-running work: one kind of event, any listener, a bar on a terminal.

plan.apply(progress=True)                                   # a bar on stderr
plan.apply(progress=lambda step: print(step.done, step.total))
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeAlias

from tierlake.pipelines.runtime import formatting

__all__ = ["Listener", "Progress", "Step", "counting", "reporting"]


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


Listener: TypeAlias = Callable[[Step], None]
Progress: TypeAlias = bool | Listener
"""True: a bar on stderr. False: silence. A function: it is called with each step, from one thread."""


@contextmanager
def reporting(
    operation: str, *, total: int, bytes_total: int, progress: Progress
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
        yield lambda done: listener(Step(operation, done, 0, 0, 0))


@contextmanager
def _listening(operation: str, progress: Progress) -> Iterator[Listener]:
    if progress is False:
        yield lambda _: None
    elif progress is True:
        with _bar(operation) as listener:
            yield listener
    else:
        yield progress


@contextmanager
def _bar(operation: str) -> Iterator[Listener]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[bytes]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    ) as bar:
        task = bar.add_task(operation, total=None, bytes="")

        def listen(step: Step) -> None:
            amount = f"{formatting.size(step.bytes_done)} of {formatting.size(step.bytes_total)}"
            bar.update(
                task,
                total=step.total or None,
                completed=step.done,
                bytes=amount if step.bytes_total else "",
            )

        yield listen
