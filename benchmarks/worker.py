"""A contender's process: it starts once, and then acts when told, so that its memory is its own.

It speaks lines of JSON with the harness: a work, a contender and a place, then the name of each run. It imports nothing
of tierlake: some contenders live in an environment without it.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from benchmarks import child, memory
from benchmarks.answers import held
from benchmarks.model import Place
from benchmarks.works import WORKS

if TYPE_CHECKING:
    from benchmarks.model import Act, Answer, Contender, Work


@dataclass(frozen=True)
class Run:
    """What an act took.

    Attributes:
        seconds: From its begin to its result.
        cpu: Seconds of this process on any core meanwhile.
        peak: The most memory of the process, and of its largest child.
        above: The same without what the process had before its first act, and without the result.
        answer: What it came to; None where what was written has to be looked at.
    """

    seconds: float
    cpu: float
    peak: int
    above: int
    answer: Answer | None


class Runner:
    """Runs one contender's act, again and again, in this process."""

    def __init__(self, work: Work, contender: Contender, place: Place) -> None:
        self._answer = contender.answer or work.answer
        self._act: Act = contender.start(place)
        gc.collect()
        self._before = memory.resident()

    def run(self, name: str) -> Run:
        """Act once under a name."""
        gc.collect()
        memory.reset_peak()
        began, busy = time.perf_counter(), time.process_time()
        result = self._act(name)
        seconds, cpu = time.perf_counter() - began, time.process_time() - busy
        children = memory.peak_of_children()
        peak = memory.peak()
        above = max(0, peak - self._before - held(result)) + children
        return Run(seconds, cpu, peak + children, above, self._answer(result) if self._answer else None)


def main() -> None:
    """Read, act, reply."""
    replies = child.replies()
    requested = json.loads(sys.stdin.readline())
    work = WORKS[requested["work"]]
    runner = Runner(work, work.contender(requested["contender"]), Place(**requested["place"]))
    print(json.dumps("started"), file=replies)
    for name in sys.stdin:
        print(json.dumps(asdict(runner.run(name.strip()))), file=replies)


if __name__ == "__main__":
    main()
