"""An object store as a filesystem: ``lake://`` over S3, MinIO and other S3 servers.

Knows nothing of datasets or Dagster.
"""

from connector.encryption import Encryption, SseC, SseKms, SseS3, Unencrypted
from connector.errors import LakeError
from connector.filesystem import LakeFileSystem
from connector.objects import ObjectVersion
from connector.policy import WritePolicy, WriteRule
from connector.profiles import Profile
from connector.settings import LakeSettings
from connector.transition import TransitionResult

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
