"""Whose clock counts.

`as_of` drives policies and is the caller's. Grace periods and the age of orphans go by the server's clock, so that a
client whose clock is wrong deletes nothing early (DESIGN section 2).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from tierlake.connector.filesystem import LakeFileSystem

__all__ = ["Clock", "ServerClock", "end_of", "time_of_change"]

_END_OF_SECOND = 999_999


class Clock(Protocol):
    """Something that tells the time."""

    def now(self) -> datetime:
        """The present instant, aware."""

    def of_store(self, instant: datetime) -> datetime:
        """A time of the store, by this clock."""


@dataclass(frozen=True, slots=True)
class ServerClock:
    """The store's own clock (`Date` header), shifted by an injected offset.

    Attributes:
        fs: The connector.
        bucket: Which bucket to ask.
        offset: Added to the server's time; tests and rehearsals look into the future with it.
    """

    fs: LakeFileSystem
    bucket: str
    offset: timedelta = timedelta(0)

    def now(self) -> datetime:
        """Ask the server; one request."""
        return self.fs.server_time(self.bucket) + self.offset

    def of_store(self, instant: datetime) -> datetime:
        """The store's own time, shifted likewise."""
        return instant + self.offset


def end_of(second: datetime, told: datetime | None = None) -> datetime:
    """A server's time of a change, never earlier than it was: servers leave the fractions of seconds out.

    Args:
        second: The server's time.
        told: The writer's time of the change. It counts where it is in that second; otherwise the second's last
            microsecond does.
    """
    if second.microsecond:
        return second
    if told is not None and second <= told < second + timedelta(seconds=1):
        return told
    return second.replace(microsecond=_END_OF_SECOND)


def time_of_change(fs: LakeFileSystem, bucket: str) -> datetime:
    """The present by the server's clock, as the time of a change in progress; one request."""
    second = fs.server_time(bucket)
    return end_of(second, datetime.now(UTC))
