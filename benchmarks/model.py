"""The values of a benchmark: a place, a work, its contenders and its targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from pathlib import Path

LOOPBACK, DISTANT = "loopback", "30 ms"
LINKS: Mapping[str, float] = {LOOPBACK: 0, DISTANT: 0.030}
"""The ways to the server, and the seconds by which each holds a response back."""


@dataclass(frozen=True)
class Place:
    """Where a contender works: a server, a bucket on it, and what was put there.

    Attributes:
        profile: The kind of server.
        facts: What the work prepared: paths, local files, sizes; JSON.
    """

    endpoint_url: str
    key: str
    secret: str = field(repr=False)
    region: str
    bucket: str
    profile: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def host(self) -> str:
        """Host and port."""
        return urlsplit(self.endpoint_url).netloc

    def values(self) -> dict[str, Any]:
        """All of it, as JSON has it."""
        return {**vars(self), "facts": dict(self.facts)}


Act = Callable[[str], object]
"""What is timed. It gets a name that no other run has, for what it writes, and returns what it read or wrote."""

Answer = Mapping[str, Any]
"""What an act came to, as numbers and digests that are equal for equal content."""


@dataclass(frozen=True)
class Contender:
    """Somebody's way to do a work.

    Attributes:
        name: As the tables have it.
        start: Makes clients and whatever else is not timed, in the contender's own process; returns the act.
        needs: The modules without which it is skipped.
        answer: Reduces what the act returned; None is the work's way.
        variables: Of its process's environment; see `benchmarks.child.Child`.
        is_alone: It changes its process, which nobody else may have.
    """

    name: str
    start: Callable[[Place], Act]
    needs: tuple[str, ...] = ()
    answer: Callable[[Any], Answer] | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    is_alone: bool = False

    @property
    def needs_baseline(self) -> bool:
        """Whether it runs other code than this."""
        return any("{baseline}" in value for value in self.variables.values())

    @property
    def is_ours(self) -> bool:
        """Whether it is tierlake."""
        return self.name.startswith("tierlake")


Measure = Literal["seconds", "cpu", "down", "above", "peak"]


@dataclass(frozen=True)
class Target:
    """A figure to reach: a measure of ours is at most so many times the least of others'.

    Attributes:
        most: The ratio.
        of: Contenders, or a fact of the place.
        measure: `seconds` and `cpu` (of the process) are medians on one link; `down` is bytes fetched; `above` is the
            peak of memory above result and start; `peak` is the peak of the whole process.
        link: Of seconds and `cpu`.
        ours: The contender of ours.
    """

    most: float
    of: tuple[str, ...]
    measure: Measure = "seconds"
    link: str = LOOPBACK
    ours: str = "tierlake"


@dataclass(frozen=True)
class Options:
    """What data a run has.

    Attributes:
        scale: TPC-H's scale factor of lineitem: 2 is 12 M rows.
        days: Of the flights of 2013, a partition each.
        megabytes: Of CSV.
        keys: To be listed.
        cache: The folder in which generated files are kept.
        scratch: A folder that goes away.
    """

    cache: Path
    scratch: Path
    scale: float = 2
    days: int = 365
    megabytes: int = 500
    keys: int = 100_000


@dataclass(frozen=True)
class Work:
    """Something that people do with an object store, and who does it.

    Attributes:
        name: What the command line calls it.
        title: What is done; `{}` are facts of the place.
        prepare: Puts the data in place and returns the facts; `answer` among them is what each act must come to.
        contenders: Ours first.
        targets: The figures to reach.
        links: The ways on which it is timed.
        answer: Reduces what an act returned, in the contender's process; None: what was written is looked at.
        written: Looks at what an act wrote under its name, around the contender, and returns the answer.
        starts: How often all processes start anew, each time for all rounds. One process is by chance a percent quicker
            than another one with the same code: where that matters, there are more.
    """

    name: str
    title: str
    prepare: Callable[[Place, Options], dict[str, Any]]
    contenders: tuple[Contender, ...]
    targets: tuple[Target, ...] = ()
    links: tuple[str, ...] = (LOOPBACK, DISTANT)
    answer: Callable[[Any], Answer] | None = None
    written: Callable[[Place, str], Answer] | None = None
    starts: int = 1

    def contender(self, name: str) -> Contender:
        """The one of that name."""
        return next(one for one in self.contenders if one.name == name)
