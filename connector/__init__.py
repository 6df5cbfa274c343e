"""An object store as a filesystem: `lake://` over S3, MinIO and other S3 servers.

This package knows nothing of datasets or Dagster. Modules that need s3fs are imported on first use, so that settings,
specs and definitions load without it.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from tierlake.connector.errors import LakeError
from tierlake.connector.objects.metadata import ObjectVersion
from tierlake.connector.policy.encryption import Encryption, SseC, SseKms, SseS3, Unencrypted
from tierlake.connector.policy.rules import WritePolicy, WriteRule
from tierlake.connector.profiles import Profile
from tierlake.connector.settings import LakeSettings

if TYPE_CHECKING:
    from tierlake.connector.filesystem import LakeFileSystem
    from tierlake.connector.objects.transition import TransitionResult

__all__ = [
    "Encryption",
    "LakeError",
    "LakeFileSystem",
    "LakeSettings",
    "ObjectVersion",
    "Profile",
    "SseC",
    "SseKms",
    "SseS3",
    "TransitionResult",
    "Unencrypted",
    "WritePolicy",
    "WriteRule",
]

_LATE = {"LakeFileSystem": "tierlake.connector.filesystem", "TransitionResult": "tierlake.connector.objects.transition"}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in _LATE:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_LATE[name]), name)
