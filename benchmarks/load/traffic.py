"""The load: readers and writers, a thread each, which call blocking verbs of one filesystem.

A reader is what a cell of a notebook or a step of Dagster is to the store: a thread that makes one call, waits for it,
looks at the bytes, and makes the next one at once. All threads of a process share one filesystem, as fsspec hands out
the same instance for the same options. So there are as many calls under way as there are threads, never more, and a
store that answers slowly is asked less often: the percentiles are of calls that somebody waited for.
"""

from __future__ import annotations

import random
import threading
import time
from abc import ABC, abstractmethod
from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks.load.objects import Content, Stored, some_size, stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

WHOLE, RANGE, OPENED = "cat_file", "cat_file, range", "open, seek, read"
WRITTEN, READ_BACK = "pipe_file", "cat_file, own write"
VERBS = (WHOLE, RANGE, OPENED, WRITTEN, READ_BACK)
KEYS_OF_A_WRITER = 8
"""A writer writes these again and again, so that what it has read back is never the version before."""
CALLS_MAX = 200_000
"""Of a thread: a load ends by its time, and by this where every call fails at once."""
SHOWN_CHARACTERS = 200


class WrongBytesError(Exception):
    """A call returned bytes that nobody has written there."""


@dataclass(frozen=True)
class Load:
    """Who makes calls, and for how long.

    Attributes:
        readers: Threads that read.
        writers: Threads that write and read back.
        seconds: No call begins later.
        seed: Of the choices; the same for each library, another one for each process.
        calls: The most of each thread.
    """

    readers: int
    writers: int
    seconds: float
    seed: int = 0
    calls: int = CALLS_MAX


@dataclass
class Outcome:
    """What came of a load.

    Attributes:
        seconds: From the first call's begin to the last one's end.
        read: Bytes that were read and right.
        written: Bytes that were written.
        waits: Microseconds of each call that succeeded, by verb.
        errors: How many, by verb and kind.
        messages: Of the first error of each kind.
        readers: Calls of each reader: one that makes far fewer than the others starves.
    """

    seconds: float = 0.0
    read: int = 0
    written: int = 0
    waits: dict[str, array[int]] = field(default_factory=dict)
    errors: Counter[str] = field(default_factory=Counter)
    messages: dict[str, str] = field(default_factory=dict)
    readers: list[int] = field(default_factory=list)

    @property
    def calls(self) -> int:
        """That succeeded."""
        return sum(map(len, self.waits.values()))

    def values(self) -> dict[str, Any]:
        """All of it, as JSON has it."""
        return {**vars(self), "waits": {verb: list(waits) for verb, waits in self.waits.items()}}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Outcome:
        """What `values` returned."""
        waits = {verb: array("I", each) for verb, each in values["waits"].items()}
        return cls(**{**values, "waits": waits, "errors": Counter(values["errors"])})

    @classmethod
    def together(cls, outcomes: Iterable[Outcome], *, seconds: float) -> Outcome:
        """Of several processes, or turns, as one."""
        whole = cls(seconds)
        for one in outcomes:
            whole.read += one.read
            whole.written += one.written
            whole.errors.update(one.errors)
            whole.messages = one.messages | whole.messages
            whole.readers += one.readers
            for verb, waits in one.waits.items():
                whole.waits.setdefault(verb, array("I")).extend(waits)
        return whole


class Traffic:
    """A filesystem under load; each `run` starts threads and ends them.

    Args:
        filesystem: Of fsspec, with blocking verbs.
        bucket: Where the objects are.
        name: Tells the keys of this one's writers from others'.
    """

    def __init__(self, filesystem: Any, bucket: str, name: str) -> None:
        self._filesystem, self._bucket, self._name = filesystem, bucket, name
        self._objects = stored()
        self._turn = 0

    def run(self, load: Load) -> Outcome:
        """Let all threads call until the time is over."""
        self._turn += 1
        started = threading.Barrier(load.readers + load.writers + 1)
        workers: list[_Worker] = [_Reader(self, started, load, number) for number in range(load.readers)]
        workers += [_Writer(self, started, load, number) for number in range(load.readers, load.readers + load.writers)]
        for one in workers:
            one.start()
        started.wait()
        began = time.perf_counter()
        for one in workers:
            one.join()
        outcome = Outcome.together([one.outcome for one in workers], seconds=time.perf_counter() - began)
        outcome.readers = [one.calls for one in workers[: load.readers]]
        return outcome

    def seed(self, load: Load, number: int) -> str:
        """Of a thread's choices: another one each turn."""
        return f"{load.seed}-{self._turn}-{number}"

    def some_object(self, choice: random.Random) -> Stored:
        """One to read."""
        return choice.choice(self._objects[some_size(choice)])

    def path(self, key: str) -> str:
        """As fsspec names it."""
        return f"{self._bucket}/{key}"

    def own_path(self, number: int, key: int) -> str:
        """Of a writer's object."""
        return self.path(f"written/{self._name}/{number:03}-{key}.bin")

    def cat(self, path: str, begin: int | None = None, end: int | None = None) -> bytes:
        """Read an object, or a range of it."""
        data: bytes = self._filesystem.cat_file(path, start=begin, end=end)
        return data

    def read(self, path: str, begin: int, end: int) -> bytes:
        """Open an object, and read a range."""
        with self._filesystem.open(path, "rb") as file:
            file.seek(begin)
            data: bytes = file.read(end - begin)
        return data

    def pipe(self, path: str, data: bytes) -> bytes:
        """Write an object; returns what was written."""
        self._filesystem.pipe_file(path, data)
        return data


class _Worker(threading.Thread, ABC):
    """A thread that makes calls one after the other."""

    def __init__(self, traffic: Traffic, together: threading.Barrier, load: Load, number: int) -> None:
        super().__init__(name=f"load-{number}")
        self.outcome = Outcome()
        self.calls = 0
        self._traffic, self._together, self._load, self._number = traffic, together, load, number
        self._choice = random.Random(traffic.seed(load, number))  # noqa: S311 - which object, not a secret

    def run(self) -> None:
        """Act until the time is over."""
        self._together.wait()
        end = time.perf_counter() + self._load.seconds
        while time.perf_counter() < end and self.calls < self._load.calls:
            self.act()

    @abstractmethod
    def act(self) -> None:
        """Make the next calls."""

    def call(self, verb: str, function: Callable[[], bytes]) -> bytes | None:
        """Make a call and measure it; None where it failed."""
        self.calls += 1
        began = time.perf_counter()
        try:
            data = function()
        except Exception as error:  # noqa: BLE001 - each is counted, by its kind
            self.failed(verb, error)
            return None
        wait = round((time.perf_counter() - began) * 1e6)
        self.outcome.waits.setdefault(verb, array("I")).append(wait)
        return data

    def failed(self, verb: str, error: Exception) -> None:
        """Count an error."""
        kind = f"{verb}: {type(error).__name__}"
        self.outcome.errors[kind] += 1
        self.outcome.messages.setdefault(kind, str(error)[:SHOWN_CHARACTERS])

    def read(self, verb: str, function: Callable[[], bytes], content: Content, begin: int, end: int) -> None:
        """Make a call that reads, and look at the bytes."""
        data = self.call(verb, function)
        if data is None:
            return
        if content.has(data, begin, end):
            self.outcome.read += len(data)
        else:
            self.failed(verb, WrongBytesError(f"{len(data):,} bytes instead of {end - begin:,}, or others"))


class _Reader(_Worker):
    """Reads whole objects mostly, and ranges of others in two ways."""

    def act(self) -> None:
        one, traffic = self._traffic.some_object(self._choice), self._traffic
        path, size = traffic.path(one.key), one.content.size
        (verb,) = self._choice.choices((WHOLE, RANGE, OPENED), (2, 1, 1))
        if verb == WHOLE:
            self.read(verb, lambda: traffic.cat(path), one.content, 0, size)
            return
        begin = self._choice.randrange(size)
        end = self._choice.randint(begin + 1, size)
        read = traffic.cat if verb == RANGE else traffic.read
        self.read(verb, lambda: read(path, begin, end), one.content, begin, end)


class _Writer(_Worker):
    """Writes an object and reads it back."""

    _written = 0

    def act(self) -> None:
        content, traffic = Content(self._choice.randrange(1 << 30), some_size(self._choice)), self._traffic
        path, data = traffic.own_path(self._number, self._written % KEYS_OF_A_WRITER), bytes(content)
        self._written += 1
        if self.call(WRITTEN, lambda: traffic.pipe(path, data)) is not None:
            self.outcome.written += len(data)
            self.read(READ_BACK, lambda: traffic.cat(path), content, 0, content.size)
