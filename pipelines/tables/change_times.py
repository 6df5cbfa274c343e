"""`_lake/changes.json`: when rows changed, where the listing of a plain table does not show it.

The time of an object is the time of its rows, except in two cases. A copy onto itself, to another storage class or
encryption, changes the object's time and no row. An object that comes back from behind a delete marker, and one whose
neighbour in the partition was deleted, keep their time though rows changed.

One small file records this for all objects of a table, each by path, ETag and time, as the listing shows them. An entry
does not apply to a later object under the same path: its own time counts. So an interruption between a copy and this
file makes rows look younger than they are, never older.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tierlake.connector.errors import PreconditionFailed
from tierlake.connector.objects.metadata import unquoted
from tierlake.pipelines.model.instant import Instant
from tierlake.pipelines.runtime.clock import end_of
from tierlake.pipelines.runtime.conflicts import attempts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from tierlake.connector.filesystem import LakeFileSystem
    from tierlake.pipelines.tables.snapshot import SameRows

__all__ = ["ChangeTimes", "KnownChange", "KnownTimes"]

_UNCHECKED = 100
"""Up to this many entries may be outdated; a larger file has at most twice as many entries as the table objects."""


class KnownChange(BaseModel):
    """An object whose time is not that of its rows.

    Attributes:
        etag: Of the object, without quotes.
        modified: The object's time, as listings show it.
        changed: When its rows changed.
        first: Which object had these rows first, with the neighbours that it has now: its ETag; empty: this one.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    etag: str
    modified: Instant
    changed: Instant
    first: str = ""

    def is_of(self, etag: str, modified: datetime) -> bool:
        """Whether a listing shows this object; servers show whole seconds in one place, fractions in another."""
        return etag == self.etag and _second(modified) == _second(self.modified)


class _Content(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    layout: int = 1
    objects: dict[str, KnownChange] = Field(default_factory=dict)
    checked: int = 0
    """How many entries there were at the last clean-up."""


class KnownTimes:
    """The recorded times of a table's objects, in addition to a listing."""

    def __init__(self, known: Mapping[str, KnownChange]) -> None:
        """Use these entries, by path below the root."""
        self._known = known

    def changed(self, path: str, info: Mapping[str, Any]) -> datetime:
        """When the rows of a listed object changed."""
        return _changed(self._known, path, _etag(info), info["LastModified"])

    def first_object(self, path: str, info: Mapping[str, Any]) -> str:
        """The first object that had the rows of a listed one: its ETag, or a replacement for it."""
        return _first(self._known, path, _etag(info), info["LastModified"])


class ChangeTimes:
    """The file `_lake/changes.json` of one table."""

    def __init__(self, fs: LakeFileSystem, root: str) -> None:
        """Work below `root` (`bucket/prefix`)."""
        self._fs = fs
        self.path = f"{root}/_lake/changes.json"

    def read(self, infos: Mapping[str, Any] | None = None) -> KnownTimes:
        """The recorded times of listed objects.

        Args:
            infos: The listing of the root, by `bucket/key`. Where it does not show the file, there is none to read.
                None means that there is no listing.
        """
        return KnownTimes(self._fetch()[0].objects if infos is None or self.path in infos else {})

    def note_same_rows(self, rewritten: Iterable[SameRows]) -> None:
        """Record that objects were rewritten with the same rows."""

        def noted(known: Mapping[str, KnownChange]) -> dict[str, KnownChange]:
            return {
                one.path: KnownChange(
                    etag=one.etag,
                    modified=one.modified,
                    changed=_changed(known, one.path, one.etag_before, one.modified_before),
                    first=_first(known, one.path, one.etag_before, one.modified_before),
                )
                for one in rewritten
            }

        self._update(noted)

    def note_changes(self, objects: Mapping[str, tuple[str, datetime]], changed: datetime) -> None:
        """Record that rows changed where the objects do not show it.

        Args:
            objects: ETag and time of each object, by its path below the root.
            changed: When the rows changed.
        """
        noted = {
            path: KnownChange(etag=etag, modified=modified, changed=changed, first=f"{etag} {changed.isoformat()}")
            for path, (etag, modified) in objects.items()
        }
        self._update(lambda _: noted)

    def _update(self, noted: Callable[[Mapping[str, KnownChange]], Mapping[str, KnownChange]]) -> None:
        """Add entries; whenever the file has doubled, drop those of objects that are gone or rewritten.

        Raises:
            CommitConflict: Others kept changing the file.
        """
        for attempt in attempts(f"lake://{self.path}", done="nothing was noted"):
            with attempt:
                content, etag = self._fetch()
                new = noted(content.objects)
                kept, checked = content.objects, content.checked
                if len(kept.keys() | new.keys()) > max(_UNCHECKED, 2 * checked):
                    kept = self._standing(kept)
                    checked = len(kept.keys() | new.keys())
                objects = dict(sorted({**kept, **new}.items()))
                data = _Content(objects=objects, checked=checked).model_dump_json(indent=1).encode()
                try:
                    if etag is None:
                        self._fs.put_if(self.path, data, if_none_match=True)
                    else:
                        self._fs.put_if(self.path, data, if_match=etag)
                except PreconditionFailed:
                    continue
                return
        raise AssertionError  # the last attempt raises

    def _standing(self, known: Mapping[str, KnownChange]) -> dict[str, KnownChange]:
        """The entries whose objects exist and were not rewritten since; one listing."""
        root = self.path.removesuffix("/_lake/changes.json")
        infos = self._fs.list_fresh(root)
        return {
            path: entry
            for path, entry in known.items()
            if (info := infos.get(f"{root}/{path}")) and _second(info["LastModified"]) <= _second(entry.modified)
        }

    def _fetch(self) -> tuple[_Content, str | None]:
        try:
            data, etag = self._fs.read_with_etag(self.path)
        except FileNotFoundError:
            return _Content(), None
        try:
            return _Content.model_validate_json(data), etag
        except ValidationError:
            # without entries the objects' own times count, which are never too early
            return _Content(), etag


def _changed(known: Mapping[str, KnownChange], path: str, etag: str, modified: datetime) -> datetime:
    entry = known.get(path)
    return entry.changed if entry is not None and entry.is_of(etag, modified) else end_of(modified)


def _first(known: Mapping[str, KnownChange], path: str, etag: str, modified: datetime) -> str:
    entry = known.get(path)
    return (entry.first or etag) if entry is not None and entry.is_of(etag, modified) else etag


def _etag(info: Mapping[str, Any]) -> str:
    return unquoted(info.get("ETag"))


def _second(at: datetime) -> datetime:
    return at.replace(microsecond=0)
