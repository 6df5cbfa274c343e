"""Valid bucket names and keys: checked before any request."""

from __future__ import annotations

import functools
import ipaddress
import re
import unicodedata

from tierlake.connector.errors import InvalidName

KEY_BYTES_MAX = 1024
"""S3's limit for a key, in bytes of UTF-8."""

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_BUCKET_MAX = 63
_RULE = "3 to 63 of lower case letters, digits, hyphens and dots, beginning and ending with a letter or digit"
_OLD_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,254}")
_BUCKET_PREFIXES = ("xn--", "sthree-", "amzn-s3-demo-")
_BUCKET_SUFFIXES = ("-s3alias", "--ol-s3", ".mrap", "--table-s3")
_DOTS = frozenset({".", ".."})
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HIVE_FOLDERS = re.compile(r"(?<![^/])(?:[^/][^/=]*=[^/]*/)+")
"""The first folders with a name, `=` and a value."""


def check_key(key: str, *, bucket: str | None = None) -> None:
    """Refuse a key that is empty, too long, or could be taken for another one.

    Args:
        key: The object key.
        bucket: Only for the error.

    Raises:
        InvalidName: The key is empty, longer than 1024 bytes, holds a control character, or has a segment
            `.` or `..`.
    """
    problem = None
    if not key:
        problem = "A key must not be empty"
    elif len(key.encode("utf-8", "surrogatepass")) > KEY_BYTES_MAX:
        problem = f"A key must not be longer than {KEY_BYTES_MAX} bytes"
    elif _CONTROL.search(key):
        problem = f"A key must not hold control characters: {key!r}"
    elif not _DOTS.isdisjoint(key.split("/")):
        problem = f"A key must not have a segment '.' or '..': {key!r}"
    elif not key.isascii() and any("\ud800" <= char <= "\udfff" for char in key):
        problem = f"A key must be valid Unicode: {key!r}"
    if problem:
        hint = "A key is folders and a name, such as flights/2013/a.parquet"
        raise InvalidName(problem, hint=hint, bucket=bucket)


def hive_folders(key: str) -> tuple[str, str]:
    """The prefix above a key's Hive folders (`date=2013-07-04/origin=JFK`), and the folders; ('', '') without any."""
    match = _HIVE_FOLDERS.search(key)
    if match is None:
        return "", ""
    return key[: max(match.start() - 1, 0)], match[0][:-1]


def check_bucket(name: str) -> None:
    """Refuse names that no bucket can have, not even an old one (an access point's ARN is accepted too).

    Before March 2018 us-east-1 accepted names of up to 255 letters, digits, dots, hyphens and underscores
    (https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html), and other servers still do.

    Args:
        name: The bucket's name.

    Raises:
        InvalidName: The name breaks a rule.
    """
    if name.startswith("arn:"):
        return
    if "@" in name:  # the text before it may be a password
        raise InvalidName(
            "What stands for the bucket is no bucket name: it holds a user name or password",
            hint="Write lake://bucket/prefix, and pass key= and secret= beside it",
        )
    if not _OLD_BUCKET.fullmatch(name):
        raise InvalidName(f"{name!r} is no bucket name: {_RULE}", hint=_example(name))
    if ".." in name or _is_address(name):
        raise InvalidName(
            f"{name!r} is no bucket name: each part between dots is a host name, and the whole no address",
            hint=_example(name),
        )


def check_new_bucket(name: str) -> None:
    """Refuse a name for a new bucket that breaks S3's present rules.

    Args:
        name: The bucket's name.

    Raises:
        InvalidName: The name breaks a rule; the message says which.
    """
    problem = None
    if not _BUCKET.fullmatch(name):
        problem = f"{name!r} is no bucket name: {_RULE}"
    elif ".." in name or ".-" in name or "-." in name:
        problem = f"{name!r} is no bucket name: each part between dots is a host name"
    elif _is_address(name):
        problem = f"{name!r} is no bucket name: it looks like an IP address"
    elif name.startswith(_BUCKET_PREFIXES) or name.endswith(_BUCKET_SUFFIXES):
        problem = f"{name!r} is no bucket name: S3 reserves this prefix or suffix"
    if problem:
        raise InvalidName(problem, hint=_example(name))


def _example(name: str) -> str | None:
    """A valid name that resembles an invalid one, as a hint; None if hardly anything of it is left."""
    letters = unicodedata.normalize("NFKD", name.replace("\u00df", "ss")).encode("ascii", "ignore").decode().lower()
    valid = re.sub(r"[^a-z0-9]+", "-", letters)[:_BUCKET_MAX].strip("-")
    for prefix in _BUCKET_PREFIXES:
        valid = valid.removeprefix(prefix)
    if not valid:
        return None
    if not _BUCKET.fullmatch(valid) or valid == name or _is_address(valid):
        valid = f"{valid}-data"
    return f"For example {valid!r}" if _BUCKET.fullmatch(valid) else None


@functools.lru_cache(maxsize=1024)
def _is_address(name: str) -> bool:
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        return False
    return True
