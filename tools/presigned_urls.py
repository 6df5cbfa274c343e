"""A rule for detect-secrets: the signature of a presigned URL, which gives what it signs to whoever has it."""

from __future__ import annotations

import re

from detect_secrets.plugins.base import RegexBasedDetector

__all__ = ["PresignedUrlDetector"]


class PresignedUrlDetector(RegexBasedDetector):
    """Finds signatures of version 4 and 2 in URLs, and those of forms."""

    secret_type = "Presigned URL"  # noqa: S105 - its name
    denylist = (
        re.compile(r"X-Amz-Signature(?:=|%3D|[\"'] *: *[\"'])([0-9a-f]{64})", re.IGNORECASE),
        re.compile(r"[?&]AWSAccessKeyId=[^&\s]+&(?:[^&\s]+&)*?Signature=([A-Za-z0-9%+/]{20,})"),
    )
