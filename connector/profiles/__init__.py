"""Server profiles: one server a file, found by name or by the `Server` header.

More are added by entry point; the object is a `tierlake.connector.profiles.profile.Profile`::

    [project.entry-points."tierlake.profiles"]
    myserver = "mypackage.profiles:PROFILE"
"""

from __future__ import annotations

import functools
from importlib.metadata import entry_points

from tierlake.connector.errors import InvalidSetting
from tierlake.connector.nearest import did_you_mean
from tierlake.connector.profiles import aws, ceph, generic, minio, r2, seaweedfs
from tierlake.connector.profiles.profile import Profile

__all__ = ["Profile", "get_profile", "profile_for_server_header", "profile_names"]

ENTRY_POINT_GROUP = "tierlake.profiles"
_OURS: dict[str, Profile] = {
    module.PROFILE.name: module.PROFILE for module in (aws, minio, seaweedfs, ceph, r2, generic)
}


@functools.cache
def _profiles() -> dict[str, Profile]:
    theirs: dict[str, Profile] = {entry.name: entry.load() for entry in entry_points(group=ENTRY_POINT_GROUP)}
    return {**_OURS, **theirs}


def profile_names() -> tuple[str, ...]:
    """The names of all profiles, sorted."""
    return tuple(sorted(_profiles()))


def get_profile(name: str) -> Profile:
    """The profile of a name.

    Raises:
        InvalidSetting: There is no such profile; the nearest name is in the hint.
    """
    profile: Profile | None = _profiles().get(name.lower())
    if profile is None:
        raise InvalidSetting(
            f"There is no server profile {name!r}; there are {', '.join(profile_names())}",
            hint=did_you_mean(name, profile_names(), likeness=0.4),
        )
    return profile


@functools.lru_cache(maxsize=64)
def profile_for_server_header(header: str | None) -> Profile:
    """The profile for a `Server` header; `generic` if none fits."""
    for profile in _profiles().values():
        if header and header.lower().startswith(tuple(h.lower() for h in profile.server_headers)):
            return profile
    return generic.PROFILE
