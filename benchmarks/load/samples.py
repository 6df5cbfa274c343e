"""What processes hold, looked at from outside while they work: memory, sockets, threads; and whether that grows."""

from __future__ import annotations

import os
import statistics
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

PROCESSES = Path("/proc")
KIB = 1024


@dataclass(frozen=True)
class Sample:
    """What one or several processes held at a moment.

    Attributes:
        memory: Resident, in bytes.
        sockets: Open ones, those of event loops to themselves among them.
        threads: Of Python, Rust and whatever else runs.
    """

    memory: int
    sockets: int
    threads: int

    @classmethod
    def of(cls, pid: int) -> Sample:
        """A process as /proc shows it."""
        fields = dict(line.split(":", 1) for line in (PROCESSES / str(pid) / "status").read_text().splitlines())
        return cls(int(fields["VmRSS"].split()[0]) * KIB, _sockets(PROCESSES / str(pid) / "fd"), int(fields["Threads"]))

    @classmethod
    def together(cls, samples: Iterable[Sample]) -> Sample:
        """Of several processes."""
        each = list(samples)
        return cls(sum(s.memory for s in each), sum(s.sockets for s in each), sum(s.threads for s in each))


def _sockets(descriptors: Path) -> int:
    count = 0
    for one in os.listdir(descriptors):  # noqa: PTH208 - names alone, thousands of them each second
        try:
            count += os.readlink(descriptors / one).startswith("socket:")  # noqa: PTH115 - no path: `socket:[123]`
        except FileNotFoundError:  # closed since
            continue
    return count


class Sampler:
    """Looks at processes again and again, within a `with` block.

    Args:
        pids: The processes.
        every: Seconds.

    Attributes:
        samples: Of all processes together, in order.
    """

    def __init__(self, pids: Sequence[int], every: float = 1.0) -> None:
        self.samples: list[Sample] = []
        self._pids, self._every = pids, every
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, name="sampler")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        due = time.monotonic()
        while not self._ended.is_set():
            try:
                self.samples.append(Sample.together(map(Sample.of, self._pids)))
            except (FileNotFoundError, ProcessLookupError, KeyError):  # one has ended: whoever waits for it will hear
                return
            due += self._every
            self._ended.wait(max(0.0, due - time.monotonic()))


@dataclass(frozen=True)
class Growth:
    """A figure in the first and in the last third of a time: the median of each, so that a burst moves neither."""

    first: float
    last: float

    @classmethod
    def of(cls, samples: Sequence[Sample], figure: Callable[[Sample], float]) -> Growth:
        """Of samples in order.

        Args:
            samples: Without those of the warm-up.
            figure: What is compared.
        """
        third = len(samples) // 3
        first, last = samples[:third], samples[-third:]
        return cls(statistics.median(map(figure, first)), statistics.median(map(figure, last)))

    @property
    def amount(self) -> float:
        """How much more there is in the end."""
        return self.last - self.first
