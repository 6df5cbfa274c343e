"""Which partitions' rows have changed since states of a table.

A Delta table's state is its id and version, and its log shows the changes of later commits. A plain table has no
versions: its state is the second of the server's clock at which it was listed. That is ambiguous for objects of that
same second, so the state also has a digest of the path and ETag of each.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tierlake.pipelines.model.partition_key import PartitionKey

__all__ = ["ListedChanges", "ListedRows", "LoggedChanges", "RowChanges", "delta_state", "delta_version", "plain_state"]

_PLAIN: Final = "plain"
_SLACK_SECONDS: Final = 1
"""A store dates an object shortly before it shows it."""

_DIGEST_BYTES: Final = 5
_NUMBER: Final = re.compile(r"[0-9]{1,20}")


class RowChanges(Protocol):
    """The changes since some states of one table."""

    def is_changed(self, key: PartitionKey, state: str) -> bool | None:
        """Whether the rows of a partition have changed since a state; None where the table cannot tell.

        Args:
            key: The partition. It is unknown for partitions that a plain table does not have now.
            state: One of the requested states.
        """

    def after(self, state: str) -> Mapping[PartitionKey, str] | None:
        """The partitions that have changed since a state, each with the state after the last commit that changed it.

        Args:
            state: One of the requested states.

        Returns:
            None where the table cannot tell. A plain table does not show which partitions have left it.
        """


def delta_state(identity: str, version: int) -> str:
    """Names a version of a Delta table."""
    return f"{identity}@{version}"


def delta_version(identity: str, state: str) -> int | None:
    """The version that a state names; None where it is no state of this table."""
    named, _, version = state.rpartition("@")
    return int(version) if named == identity and _NUMBER.fullmatch(version) else None


@dataclass(frozen=True, slots=True)
class LoggedChanges:
    """Changes by the log of a Delta table.

    Attributes:
        identity: The table's id.
        newest: Its version.
        oldest: All commits after this version are known.
        last: The version after the last known commit that changed a partition's rows.
        unclear: The version after the last commit whose changed partitions are unknown; -1 where there is none.
    """

    identity: str
    newest: int
    oldest: int
    last: Mapping[PartitionKey, int]
    unclear: int = -1

    def is_changed(self, key: PartitionKey, state: str) -> bool | None:
        """By the last commit that changed it; see `RowChanges.is_changed`."""
        version = self._version(state)
        return None if version is None else self.last.get(key, -1) > version

    def after(self, state: str) -> Mapping[PartitionKey, str] | None:
        """By the commits after it; see `RowChanges.after`."""
        version = self._version(state)
        if version is None:
            return None
        return {key: delta_state(self.identity, last) for key, last in self.last.items() if last > version}

    def _version(self, state: str) -> int | None:
        version = delta_version(self.identity, state)
        is_known = version is not None and max(self.oldest, self.unclear) <= version <= self.newest
        return version if is_known else None


@dataclass(frozen=True, slots=True)
class ListedRows:
    """An object of a plain table, as far as its rows go.

    Attributes:
        second: When they changed, in whole seconds of the server's clock since 1970.
        digest: Distinguishes it from others under the same path.
    """

    second: int
    digest: str

    @classmethod
    def of(cls, path: str, first: str, second: int) -> ListedRows:
        """An object of a listing.

        Args:
            path: Below the table's root.
            first: The first object with these rows.
            second: When they changed.
        """
        named = hashlib.blake2b(f"{path}\n{first}".encode(), digest_size=_DIGEST_BYTES)
        return cls(second, named.hexdigest())


def plain_state(second: int, rows: Iterable[ListedRows]) -> str:
    """Names the state of a plain table.

    Args:
        second: The server's time before the listing.
        rows: The listed objects.
    """
    recent = sorted(one.digest for one in rows if one.second >= second - _SLACK_SECONDS)
    return f"{_PLAIN}@{second}:{','.join(recent)}"


@dataclass(frozen=True, slots=True)
class ListedChanges:
    """Changes by the listing of a plain table.

    Attributes:
        rows: Its objects by partition.
    """

    rows: Mapping[PartitionKey, Sequence[ListedRows]]

    def is_changed(self, key: PartitionKey, state: str) -> bool | None:
        """By the times of its objects; see `RowChanges.is_changed`."""
        known = _parsed(state)
        if known is None:
            return None
        second, digests = known
        there = self.rows.get(key)
        if not there:
            return None
        return any(one.second >= second - _SLACK_SECONDS and one.digest not in digests for one in there)

    def after(self, state: str) -> Mapping[PartitionKey, str] | None:
        """By the times of all objects; see `RowChanges.after`."""
        if _parsed(state) is None:
            return None
        changed = {key: rows for key, rows in self.rows.items() if self.is_changed(key, state)}
        return {key: plain_state(max(one.second for one in rows), rows) for key, rows in changed.items()}


@lru_cache(maxsize=1024)
def _parsed(state: str) -> tuple[int, frozenset[str]] | None:
    """The second of a plain table's state, and the digests of the objects that were new then."""
    name, _, rest = state.partition("@")
    second, _, digests = rest.partition(":")
    if name != _PLAIN or not _NUMBER.fullmatch(second):
        return None
    return int(second), frozenset(filter(None, digests.split(",")))
