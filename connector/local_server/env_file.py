"""`env.sh` in a server's folder: what a shell needs to use the server."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from tierlake.connector.local_server.private_file import write_private_file

if TYPE_CHECKING:
    from pathlib import Path

    from tierlake.connector.local_server.folder import LocalServer

__all__ = ["env_file"]

_CLASHING: Final = (
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_ENDPOINT_URL_S3",
    "TIERLAKE_KEY",
    "TIERLAKE_SECRET",
    "TIERLAKE_TOKEN",
)
"""What a shell may have of another store: it would be mixed with this server's credentials, or win over them."""


def env_file(running: LocalServer) -> Path:
    """Write `env.sh` beside the data: what a shell needs to find this server. Only its owner can read it."""
    path = running.data / "env.sh"
    exports = (f"export {name}={shlex.quote(value)}\n" for name, value in running.environ().items())
    write_private_file(path, "".join([f"unset {' '.join(_CLASHING)}\n", *exports]))
    return path
