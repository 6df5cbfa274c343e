"""All processes of one library under one load, as if they were one."""

from __future__ import annotations

import json
import sys
import threading
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from benchmarks.child import NO_VARIABLES, Child, ContenderError
from benchmarks.load.samples import Sample, Sampler
from benchmarks.load.traffic import Load, Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.model import Place

GRACE_SECONDS = 120.0
"""After the time of a load its last calls have so long, with all their retries; then the process hangs."""


@dataclass
class Watched:
    """What came of a load, and what its processes held.

    Attributes:
        before: What they held before the first call.
        during: Each second.
        after: Once all threads of the load had ended.
    """

    outcome: Outcome
    before: Sample
    during: list[Sample] = field(default_factory=list)
    after: Sample = field(default_factory=lambda: Sample(0, 0, 0))


class Crew:
    """The processes of one library, which share the readers and writers; use it as a context manager.

    Args:
        contender: One of `worker.FILESYSTEMS`.
        place: Where the objects are.
        processes: How many.
        every: Seconds between two samples.
        grace: Seconds after a load for its last calls.
        variables: Of the processes' environment.
    """

    def __init__(
        self,
        contender: str,
        place: Place,
        processes: int = 1,
        *,
        every: float = 1.0,
        grace: float = GRACE_SECONDS,
        variables: Mapping[str, str] = NO_VARIABLES,
    ) -> None:
        self.contender = contender
        self._every, self._grace = every, grace
        self._children = [
            Child(
                Path(sys.executable),
                "benchmarks.load.worker",
                {"contender": contender, "place": place.values(), "name": f"{contender}-{processes}-{number}"},
                variables,
            )
            for number in range(processes)
        ]

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for child in self._children:
                stack.enter_context(child)
            self._stack = stack.pop_all()
        self.watched = Watched(Outcome(), self.sample())
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def warm_up(self, load: Load) -> None:
        """Put all processes under a load of which errors alone count: the first calls make clients and connections."""
        before = self.watched.before
        self.run(load)
        first = self.watched.outcome
        self.watched = Watched(Outcome(errors=first.errors, messages=first.messages), before)

    def run(self, load: Load) -> None:
        """Put all processes under their shares of a load at once, and add what came of it to `watched`.

        Raises:
            ContenderError: A process has ended, or hung and was killed.
        """
        outcomes: list[Outcome] = []
        failures: list[ContenderError] = []
        threads = [
            threading.Thread(target=self._run_one, args=(child, share, outcomes, failures))
            for child, share in zip(self._children, shares(load, len(self._children)), strict=True)
        ]
        with Sampler([child.pid for child in self._children], self._every) as sampler:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        seconds = self.watched.outcome.seconds + max((one.seconds for one in outcomes), default=0.0)
        self.watched.outcome = Outcome.together([self.watched.outcome, *outcomes], seconds=seconds)
        self.watched.during += sampler.samples
        if failures:
            raise failures[0]
        self.watched.after = self.sample()

    def _run_one(self, child: Child, load: Load, outcomes: list[Outcome], failures: list[ContenderError]) -> None:
        """Wait for one process; one that hangs is killed."""
        hung = threading.Timer(load.seconds + self._grace, child.kill)
        hung.start()
        try:
            outcomes.append(Outcome.of(child.ask(json.dumps(asdict(load)))))
        except ContenderError as error:
            failures.append(error)
        finally:
            hung.cancel()

    def sample(self) -> Sample:
        """What all processes hold now."""
        return Sample.together(Sample.of(child.pid) for child in self._children)


def shares(load: Load, processes: int) -> list[Load]:
    """A load, divided among processes; each makes its own choices."""
    return [
        replace(
            load,
            readers=load.readers // processes + (number < load.readers % processes),
            writers=load.writers // processes + (number < load.writers % processes),
            seed=load.seed * processes + number,
        )
        for number in range(processes)
    ]
