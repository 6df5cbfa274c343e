"""What was measured of a work: values that become JSON and come back."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks.model import LINKS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from benchmarks.model import Target, Work


@dataclass
class Measured:
    """What a contender took.

    Attributes:
        seconds: Of each round, by link.
        cpu: Seconds of the process on any core, likewise; of programs that it starts there are none.
        requests: By kind, in the pass that counts.
        down: Bytes of responses' bodies there.
        up: Bytes of requests' bodies there.
        peak: The most memory of any run.
        above: The most without start and result.
    """

    seconds: dict[str, list[float]] = field(default_factory=dict)
    requests: dict[str, int] = field(default_factory=dict)
    down: int = 0
    up: int = 0
    peak: int = 0
    above: int = 0
    cpu: dict[str, list[float]] = field(default_factory=dict)

    def median(self, link: str) -> float | None:
        """Seconds on a link; None where it was not timed there."""
        return _median(self.seconds.get(link))

    def median_cpu(self, link: str) -> float | None:
        """Seconds of the processor, likewise."""
        return _median(self.cpu.get(link))


@dataclass
class Result:
    """A work, measured.

    Attributes:
        title: What was done.
        server: The kind of server.
        cores: Of the machine.
        rounds: That counted.
        contenders: What each took, by name.
        skipped: Why others are missing, by name.
        facts: Figures of the data that targets name.
        versions: Of the packages.
    """

    work: str
    title: str
    server: str
    cores: int
    rounds: int
    contenders: dict[str, Measured] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    facts: dict[str, int] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def links(self) -> list[str]:
        """The ways on which it was timed."""
        return [link for link in LINKS if any(link in one.seconds for one in self.contenders.values())]

    def has_cpu(self, link: str) -> bool:
        """Whether seconds of the processor were counted there."""
        return any(link in one.cpu for one in self.contenders.values())

    def measure(self, target: Target, name: str) -> float | None:
        """What a target compares, of a contender or a fact; None where it was not measured."""
        if name in self.facts:
            return self.facts[name]
        one = self.contenders.get(name)
        if one is None:
            return None
        if target.measure == "seconds":
            return one.median(target.link)
        if target.measure == "cpu":
            return one.median_cpu(target.link)
        return float(getattr(one, target.measure))


@dataclass(frozen=True)
class Verdict:
    """Whether a target is reached.

    Attributes:
        ratio: Ours to the least of the others'; None where one of them was not measured.
        of: The other that was least.
    """

    target: Target
    ratio: float | None
    of: str

    @property
    def reached(self) -> bool | None:
        """None: not measured."""
        return None if self.ratio is None else self.ratio <= self.target.most


def verdicts(work: Work, result: Result) -> list[Verdict]:
    """All targets of a work, judged."""
    return [_verdict(target, result) for target in work.targets]


def _verdict(target: Target, result: Result) -> Verdict:
    ours = result.measure(target, target.ours)
    measured = {name: value for name in target.of if (value := result.measure(target, name))}
    if ours is None or not measured:
        return Verdict(target, None, " or ".join(target.of))
    least = min(measured, key=lambda name: measured[name])
    return Verdict(target, ours / measured[least], least)


def _median(taken: list[float] | None) -> float | None:
    return statistics.median(taken) if taken else None


def load(file: Path) -> dict[str, Result]:
    """The results in a file, by work; none where there is no file."""
    if not file.exists():
        return {}
    return {name: _result(value) for name, value in json.loads(file.read_text()).items()}


def save(file: Path, results: Mapping[str, Result]) -> None:
    """Write them, in an order that does not change."""
    values = {name: _rounded(asdict(result)) for name, result in results.items()}
    file.write_text(json.dumps(values, indent=1, sort_keys=True) + "\n")


def _result(value: dict[str, Any]) -> Result:
    contenders = {name: Measured(**one) for name, one in value.pop("contenders").items()}
    return Result(**value, contenders=contenders)


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    return round(value, 4) if isinstance(value, float) else value
