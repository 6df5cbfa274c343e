"""Events of the journal that share an object: those of one month, once they need no object of their own.

    folded-<month>01T000000Z-<number>.json      an event a line

The name has a date, like that of a single event. A version of tierlake that does not know folded events therefore
refuses it, instead of showing a shorter history.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from tierlake.connector.documents import json_object
from tierlake.pipelines.errors import SpecError
from tierlake.pipelines.metastore.records import KINDS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from tierlake.pipelines.metastore.records import Record

__all__ = ["EVENTS_MAX", "FoldedEvents", "folded_name", "month_of", "packed", "place_of"]

EVENTS_MAX: Final = 1000
"""The most events in one object."""
BYTES_MAX: Final = 1 << 20
"""The most bytes of one object; a larger event has an object of its own."""

_NAME = re.compile(r"folded-(?P<month>\d{6})01T000000Z-(?P<number>\d{6})\.json")


def month_of(record_id: str) -> str:
    """The month that an event belongs to, such as `202406`."""
    return record_id[:6]


def folded_name(month: str, number: int) -> str:
    """What an object of folded events is called."""
    return f"folded-{month}01T000000Z-{number:06d}.json"


def place_of(path: str) -> tuple[str, int] | None:
    """The month and the number of an object of folded events; None for any other object."""
    match = _NAME.fullmatch(path.rpartition("/")[2])
    return (match["month"], int(match["number"])) if match is not None else None


@dataclass(frozen=True, slots=True)
class FoldedEvents:
    """One object of folded events.

    Attributes:
        month: The month of its events.
        number: Distinguishes it from the month's other objects.
        events: By the record's id, each as a line of JSON.
        etag: The ETag of the object as it was read; None where there is none yet.
    """

    month: str
    number: int
    events: Mapping[str, str] = field(default_factory=dict)
    etag: str | None = None

    @classmethod
    def parse(cls, path: str, data: bytes, etag: str | None = None) -> FoldedEvents:
        """Read such an object.

        Args:
            path: Where it is.
            data: Its bytes.
            etag: The ETag of those bytes.

        Raises:
            SpecError: It is no such object.
        """
        place = place_of(path)
        try:
            events = {str(json_object(line)["id"]): line for line in data.decode().splitlines()}
        except (ValueError, KeyError) as error:
            raise _unreadable(path, "a line of it is no event") from error
        if place is None:
            raise _unreadable(path, "nothing of ours has such a name")
        return cls(*place, events, etag)

    @property
    def data(self) -> bytes:
        """The object's bytes."""
        return "".join(f"{line}\n" for line in self.events.values()).encode()

    def records(self, kinds: Collection[str]) -> Iterator[Record]:
        """The events of some kinds.

        Raises:
            SpecError: One that cannot be read.
        """
        name = folded_name(self.month, self.number)
        for line in self.events.values():
            kind = json.loads(line).get("kind")
            if kind not in KINDS:
                raise _unreadable(name, f"{kind!r} is no kind of event that this version of tierlake knows")
            if kind not in kinds:
                continue
            try:
                yield KINDS[kind].model_validate_json(line)
            except ValidationError as error:
                raise _unreadable(name, error.errors(include_url=False)[0]["msg"]) from error


def packed(parts: Iterable[FoldedEvents], month: str, records: Iterable[Record]) -> list[FoldedEvents]:
    """Add a month's events to those that are folded already.

    Args:
        parts: The month's objects.
        month: The month.
        records: Its events. An event that is folded already is replaced.

    Returns:
        The objects that are new or changed, in the order in which they are to be written.
    """
    contents = {part.number: dict(part.events) for part in parts}
    etags = {part.number: part.etag for part in parts}
    places = {record_id: number for number, events in contents.items() for record_id in events}
    last = max(contents, default=0)
    size = sum(len(line.encode()) for line in contents.get(last, {}).values())
    changed: set[int] = set()
    for record in sorted(records, key=lambda one: one.id):
        line = json.dumps({"kind": record.kind, **json.loads(record.model_dump_json(exclude_none=True))})
        number = places.get(record.id)
        if number is None:
            here = contents.get(last)
            if here and (len(here) >= EVENTS_MAX or size + len(line) > BYTES_MAX):
                last, size = last + 1, 0
            number, size = last, size + len(line)
        elif contents[number][record.id] == line:
            continue
        contents.setdefault(number, {})[record.id] = line
        changed.add(number)
    return [FoldedEvents(month, number, contents[number], etags.get(number)) for number in sorted(changed)]


def _unreadable(name: str, reason: str) -> SpecError:
    message = f"{name} holds no events of the journal: {reason}"
    return SpecError(message, hint="was it edited by hand, or written by a newer version?")
