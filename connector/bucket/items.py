"""What a plan consists of: an item for each aspect, and a part for each request that writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from tierlake.connector.errors import LakeError, ObjectNotFound

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from tierlake.connector.client.store import Store
    from tierlake.connector.profiles import Profile

__all__ = ["Action", "Item", "Merged", "Part", "Site", "compared", "merged"]

Action = Literal["create", "change", "remove", "none", "lacking"]
T = TypeVar("T")


@dataclass(frozen=True)
class Item:
    """One aspect of a bucket.

    Args:
        aspect: The aspect's name, such as `versioning`.
        current: The present value; empty if there is none.
        wanted: The value that the spec demands; empty if the aspect has to go.
        action: What applying the plan does; `lacking` where the server cannot.
        note: What the server offers instead, or another remark.
    """

    aspect: str
    current: str
    wanted: str
    action: Action
    note: str = ""

    @property
    def is_todo(self) -> bool:
        """Whether applying the plan changes it."""
        return self.action in {"create", "change", "remove"}


async def _nothing() -> None:
    """Nothing has to be written."""


@dataclass(frozen=True)
class Part:
    """What one request writes.

    Args:
        items: The items; none where the spec leaves the part as it is.
        write: Makes the request.
        fault: What would make it fail, told before anything is changed.
    """

    items: tuple[Item, ...] = ()
    write: Callable[[], Awaitable[None]] = _nothing
    fault: LakeError | None = None


@dataclass(frozen=True)
class Site:
    """A bucket on a server.

    Args:
        store: The server, with an administrator's credentials.
        profile: The server's profile.
        bucket: The bucket's name.
        exists: The bucket exists.
        endpoint: The endpoint, AWS's too.
    """

    store: Store
    profile: Profile
    bucket: str
    exists: bool
    endpoint: str

    async def read(self, operation: str) -> dict[str, Any]:
        """The response to a request for one of the bucket's settings; empty if the setting or the bucket is missing."""
        if not self.exists:
            return {}
        try:
            response: dict[str, Any] = await self.store.send(operation, Bucket=self.bucket)
        except ObjectNotFound:
            return {}
        return response

    async def send(self, operation: str, **params: Any) -> None:
        """Make a request that changes the bucket."""
        await self.store.send(operation, Bucket=self.bucket, **params)

    def lacking(self, aspect: str, wanted: str, name: str, current: str = "") -> Item:
        """The item of an aspect that this server does not support.

        Args:
            aspect: The aspect's name.
            wanted: The value that the spec demands.
            name: The profile's field for that ability.
            current: The present value, where it can be read.
        """
        return Item(aspect, current, wanted, "lacking", f"instead: {self.profile.alternative(name)}")


def compared(aspect: str, current: str, wanted: str, note: str = "") -> Item:
    """The item of an aspect that has one value."""
    action: Action = "none" if current == wanted else "change" if current else "create"
    return Item(aspect, current, wanted, action, note)


@dataclass(frozen=True)
class Merged(Generic[T]):
    """A list in which some entries are ours.

    Args:
        entries: The list to write.
        actions: The action for each of our entries, by name.
    """

    entries: list[T]
    actions: dict[str, Action]


def merged(
    present: Sequence[T],
    wanted: Mapping[str, T | None],
    *,
    name: Callable[[T], str],
    plain: Callable[[T], object],
) -> Merged[T]:
    """Put our entries into a list, and leave the entries of others where they are.

    Args:
        present: The list as it is.
        wanted: Our entries by name; None removes an entry. Entries of other names are left alone.
        name: An entry's name; empty where it has none.
        plain: An entry in the form in which two are compared, without what servers fill in.
    """
    actions: dict[str, Action] = {}
    entries: list[T] = []
    for entry in present:
        ours = name(entry)
        if ours not in wanted:
            entries.append(entry)
            continue
        target = wanted[ours]
        if ours in actions or target is None:  # a second entry of the same name is removed
            actions[ours] = "change" if target is not None else "remove"
            continue
        same = plain(entry) == plain(target)
        actions[ours] = "none" if same else "change"
        entries.append(entry if same else target)
    for ours, target in wanted.items():
        if ours not in actions and target is not None:
            actions[ours] = "create"
            entries.append(target)
        actions.setdefault(ours, "none")
    return Merged(entries, actions)
