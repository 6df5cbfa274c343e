"""Secrets never reach a log or an error text.

botocore logs whole requests at DEBUG, headers included, and so customer-provided encryption keys, session
tokens and signatures. `guard_logs` puts a filter on its loggers, once per process.
"""

from __future__ import annotations

import logging
import re

HIDDEN = "***"

_HIDDEN_NAMES = (
    r"SSECustomerKey(?:MD5)?|CopySourceSSECustomerKey(?:MD5)?"
    r"|(?:x-amz-|x-amz-copy-source-)server-side-encryption-customer-key(?:-md5)?"
    r"|x-amz-security-token|authorization|aws_secret_access_key|aws_session_token|secret_access_key|session_token"
    r"|secret|password|SecretAccessKey|SessionToken"
)
_PAIR = re.compile(
    rf"""(?P<name>['"]?\b(?:{_HIDDEN_NAMES})\b['"]?\s*[:=]\s*)(?P<value>b?'[^']*'|b?"[^"]*"|[^\s,}})&]+)""",
    re.IGNORECASE,
)
_QUERY = re.compile(
    r"(?P<name>(?:X-Amz-Signature|X-Amz-Credential|X-Amz-Security-Token|Signature|AWSAccessKeyId"
    r"|(?<=[?&])(?:sig|(?:access_|api_?)?key|(?:[a-z]+_)?token))=)[^&\s'\"]+",
    re.IGNORECASE,
)
_USER = re.compile(r"(?<=://)[^/?#\s'\"@]*@")
_SIGNATURE = re.compile(r"AWS4-HMAC-SHA256 Credential=[^\n]*|(?<=Signature:\n)[0-9a-f]{64}")
_WORDS = ("key", "secret", "token", "password", "authorization", "sig", "credential", "@")
"""Each pattern above needs one of them: a text without any is returned as it is, which is most of them."""

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_MARKUP = re.compile(r":?\s*<(?:\?xml|!doctype|html|Error\b|\w+Result\b).*", re.IGNORECASE | re.DOTALL)
"""The body of an answer, which some libraries quote."""

_LOGGERS = (
    "botocore.auth",
    "botocore.endpoint",
    "botocore.hooks",
    "botocore.httpsession",
    "botocore.parsers",
    "botocore.regions",
    "botocore.retryhandler",
    "botocore.signers",
    "botocore.utils",
    "aiobotocore.endpoint",
    "aiobotocore.regions",
    "s3fs",
)


def redact(text: str) -> str:
    """Replace what looks like a secret or a signature.

    Args:
        text: Any text of a server or a library.

    Returns:
        The text with `***` in place of each secret value.
    """
    if is_harmless(text):
        return text
    hidden = _PAIR.sub(lambda match: f"{match['name']}{HIDDEN}", text)
    hidden = _QUERY.sub(lambda match: f"{match['name']}{HIDDEN}", hidden)
    hidden = _USER.sub(f"{HIDDEN}@", hidden)
    return _SIGNATURE.sub(HIDDEN, hidden)


def is_harmless(text: str) -> bool:
    """Whether a text certainly holds nothing to redact; much faster than to look for it."""
    if not text.isascii():
        return False
    lowered = text.lower()
    for word in _WORDS:  # noqa: SIM110 -- a generator takes three times as long
        if word in lowered:
            return False
    return True


def printable(text: str) -> str:
    r"""A text for a terminal or a log: control characters and halves of pairs as Python escapes them, such as `\x1b`.

    Line feeds and tabs stay.
    """
    return text if text.isprintable() else _CONTROL.sub(lambda match: ascii(match[0])[1:-1], text)


def undecorated(text: str) -> str:
    """A text of a library in one line, without colours and arrows for terminals."""
    return " ".join(_COLOURS.sub("", text).replace("↳", " ").split())


def one_line(text: str, most: int | None = None) -> str:
    """A text of a library in one line: without secrets, decoration and the bodies of answers.

    Args:
        text: The text.
        most: Characters of it that are kept; None keeps all.
    """
    line = undecorated(_MARKUP.sub("", redact(text)).replace("\\n", " "))
    return line if most is None or len(line) <= most else f"{line[:most]}..."


class _Redacting(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = redact(record.getMessage())
        record.args = ()
        return True


class _ReportedElsewhere(logging.Filter):
    """Credentials that cannot be renewed: what must be had is an error of ours, what may wait is one line."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.exc_info = None
        return "during mandatory refresh" not in record.getMessage()


_FILTER = _Redacting()
_OF_CREDENTIALS = _ReportedElsewhere()


def guard_logs() -> None:
    """Put the filters on the loggers that print requests, and credentials' failures; again changes nothing."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_FILTER)
    for name in ("botocore.credentials", "aiobotocore.credentials"):
        logging.getLogger(name).addFilter(_OF_CREDENTIALS)
