"""An object store as a filesystem: `lake://` over S3, MinIO and other S3 servers.

This package knows nothing of datasets or Dagster. Each name is imported from its room when it is first asked for: an
error's class needs no pydantic, and settings, specs and definitions load without s3fs.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tierlake.connector.errors import LakeError
    from tierlake.connector.filesystem import LakeFileSystem
    from tierlake.connector.objects.metadata import ObjectVersion
    from tierlake.connector.objects.transition import TransitionResult
    from tierlake.connector.policy.encryption import Encryption, SseC, SseKms, SseS3, Unencrypted
    from tierlake.connector.policy.rules import WritePolicy, WriteRule
    from tierlake.connector.profiles import Profile
    from tierlake.connector.settings import LakeSettings

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

_ROOMS = {
    "Encryption": "policy.encryption",
    "LakeError": "errors",
    "LakeFileSystem": "filesystem",
    "LakeSettings": "settings",
    "ObjectVersion": "objects.metadata",
    "Profile": "profiles",
    "SseC": "policy.encryption",
    "SseKms": "policy.encryption",
    "SseS3": "policy.encryption",
    "TransitionResult": "objects.transition",
    "Unencrypted": "policy.encryption",
    "WritePolicy": "policy.rules",
    "WriteRule": "policy.rules",
}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in _ROOMS:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_ROOMS[name]}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
