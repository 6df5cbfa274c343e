"""Runs a work: each contender in a process of its own, in turns, and checks every answer.

First each contender runs once in a new process past a relay that counts, which tells requests, bytes and memory.
Then, on each link, all of them start, warm up, and act in turns: what a noisy machine does to one it does to all. A
contender that fails or answers wrongly is left out, with the reason; where that is one of ours, the run fails.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchmarks import clients
from benchmarks.child import Child, ContenderError
from benchmarks.model import LINKS, Place
from benchmarks.relay import Relay
from benchmarks.results import Measured, Result
from benchmarks.worker import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from benchmarks.interpreters import Interpreters
    from benchmarks.model import Contender, Options, Work

BUCKET = "bench"


@dataclass(frozen=True)
class Plan:
    """How to run.

    Attributes:
        rounds: That count, for each start of a work; one before them does not.
        server: `seaweedfs` or `minio`.
        only: The contenders to run; empty is all.
        baseline: A checkout of other code, for those contenders that run it.
        tell: Called with each line of progress.
    """

    options: Options
    interpreters: Interpreters
    rounds: int = 5
    server: str = "seaweedfs"
    only: tuple[str, ...] = ()
    tell: Callable[[str], None] = print
    baseline: Path | None = None


class Process(Child):
    """A contender's process; use it as a context manager.

    Args:
        python: The interpreter that has what it needs.
        work: Where it contends.
        contender: Which.
        place: Where it works.
        baseline: Where other code is.
    """

    def __init__(
        self, python: Path, work: Work, contender: Contender, place: Place, baseline: Path | None = None
    ) -> None:
        start = {"work": work.name, "contender": contender.name, "place": place.values()}
        super().__init__(python, "benchmarks.worker", start, contender.variables, baseline)

    def run(self, name: str) -> Run:
        """Act once.

        Raises:
            ContenderError: It failed.
        """
        return Run(**self.ask(name))


@contextmanager
def serving(kind: str, folder: Path) -> Iterator[Place]:
    """A server that keeps its data in a folder, with a bucket."""
    from tierlake.connector.local_server.servers import REGION, EmbeddedServer, MinioServer

    with {"seaweedfs": EmbeddedServer, "minio": MinioServer}[kind](folder) as server:
        place = Place(server.endpoint_url, server.key, server.secret, REGION, BUCKET, kind)
        clients.boto3(place).create_bucket(Bucket=BUCKET)
        yield place


def measured(work: Work, plan: Plan) -> Result:
    """Run a work on a server of its own."""
    with serving(plan.server, plan.options.scratch / f"server-{work.name}") as place:
        plan.tell(f"{work.name}: preparing")
        facts = work.prepare(place, plan.options)
        return Measurement(work, plan, replace(place, facts=facts)).result()


class Measurement:
    """One work at its place."""

    def __init__(self, work: Work, plan: Plan, place: Place) -> None:
        self._work, self._plan, self._place = work, plan, place
        self._result = Result(
            work.name,
            work.title.format_map(place.facts),
            plan.server,
            os.cpu_count() or 1,
            plan.rounds * work.starts,
            facts={name: value for name, value in place.facts.items() if isinstance(value, int)},
        )
        self._pythons: dict[str, Path] = {}
        for contender in work.contenders:
            python = plan.interpreters.having(contender)
            if plan.only and contender.name not in plan.only:
                continue
            if contender.needs_baseline and plan.baseline is None:
                self._result.skipped[contender.name] = "no --baseline"
            elif python is None:
                self._result.skipped[contender.name] = "not installed"
            else:
                self._pythons[contender.name] = python
                self._result.versions |= plan.interpreters.versions(contender)

    def result(self) -> Result:
        """Count, then time."""
        self._count()
        for link in self._work.links if self._plan.rounds else ():
            for _ in range(self._work.starts):
                self._time(link)
        return self._result

    def _count(self) -> None:
        with Relay(self._place.endpoint_url) as relay:
            place = replace(self._place, endpoint_url=relay.url)
            for name, python in list(self._pythons.items()):
                relay.page()
                try:
                    with self._process(python, name, place) as process:
                        run = self._checked(process, "counted", name)
                except ContenderError as error:
                    self._leave_out(name, error)
                    continue
                traffic = relay.page()
                self._result.contenders[name] = Measured(
                    {}, dict(traffic.requests), traffic.down, traffic.up, run.peak, run.above
                )
                self._tell("counted", name, f"{traffic.total} requests", run)

    def _time(self, link: str) -> None:
        with ExitStack() as stack:
            url = self._place.endpoint_url
            if LINKS[link]:
                url = stack.enter_context(Relay(url, LINKS[link])).url
            place = replace(self._place, endpoint_url=url)
            processes: dict[str, Process] = {}
            for name, python in list(self._pythons.items()):
                try:
                    processes[name] = stack.enter_context(self._process(python, name, place))
                except ContenderError as error:
                    self._leave_out(name, error)
            for number in range(self._plan.rounds + 1):
                self._round(link, number, processes)

    def _process(self, python: Path, name: str, place: Place) -> Process:
        return Process(python, self._work, self._work.contender(name), place, self._plan.baseline)

    def _round(self, link: str, number: int, processes: Mapping[str, Process]) -> None:
        names = list(processes)
        first = number % len(names)
        for name in names[first:] + names[:first]:
            if name not in self._pythons:  # left out
                continue
            try:
                run = self._checked(processes[name], f"{link.replace(' ', '')}-{number}", name)
            except ContenderError as error:
                self._leave_out(name, error)
                continue
            one = self._result.contenders[name]
            one.peak, one.above = max(one.peak, run.peak), max(one.above, run.above)
            if number:
                one.seconds.setdefault(link, []).append(run.seconds)
                one.cpu.setdefault(link, []).append(run.cpu)
            self._tell(link, name, f"round {number}", run)

    def _checked(self, process: Process, round_: str, name: str) -> Run:
        """Act under a name of its own, compare, and remove what was written."""
        own = f"written-{round_}-{name.replace(' ', '-').replace(',', '')}"
        run = process.run(own)
        answer, expected = run.answer, self._place.facts["answer"]
        if self._work.written is not None:
            answer = self._work.written(self._place, own)
            remove(self._place, own)
        if answer != expected:
            raise ContenderError(f"a wrong answer: {answer} instead of {expected}")
        return run

    def _leave_out(self, name: str, error: ContenderError) -> None:
        if self._work.contender(name).is_ours:
            raise error
        del self._pythons[name]
        self._result.contenders.pop(name, None)
        self._result.skipped[name] = str(error).splitlines()[-1]
        self._plan.tell(f"{self._work.name}: {name} is left out: {error}")

    def _tell(self, link: str, name: str, what: str, run: Run) -> None:
        memory = f"{run.above / (1 << 20):6,.0f} MiB above"
        self._plan.tell(f"{self._work.name}: {link:8} {name:22} {what:14} {run.seconds:8.3f} s  {memory}")


def remove(place: Place, prefix: str) -> None:
    """Delete all objects whose keys begin so."""
    client = clients.boto3(place)
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=place.bucket, Prefix=prefix):
        for entry in page.get("Contents", ()):
            client.delete_object(Bucket=place.bucket, Key=entry["Key"])
