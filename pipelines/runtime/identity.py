"""The author of an act, for the history: user and host."""

from __future__ import annotations

import getpass
import os
import platform

__all__ = ["user_and_host"]


def user_and_host() -> str:
    """`ann@build-7`."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in containers
        user = str(os.getuid())
    return f"{user}@{platform.node() or 'unknown'}"
