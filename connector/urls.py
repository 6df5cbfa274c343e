"""URLs that hold secrets: a user name and password before the host, or a signed query.

A URL is written to many places: errors, logs, stored definitions, a run's configuration. So a secret in a URL is
refused on input, and the error does not repeat it.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from tierlake.connector.errors import InvalidSetting
from tierlake.connector.redact import HIDDEN

__all__ = ["HIDDEN_HINT", "check_endpoint_url", "check_place", "secret_in_place", "secret_in_url", "without_secrets"]

HIDDEN_HINT: Final = (
    "A URL is stored and shown: give the credentials as key and secret (in Dagster as dg.EnvVar), or leave them to the "
    "AWS chain"
)

_USER: Final = re.compile(r"(?<=://)[^/?#\s'\"]*@")
_QUERY: Final = re.compile(r"(?P<address>https?://[^\s'\"?]*)\?[^\s'\"!]*")
_NAMED: Final = re.compile(r"[?&#][^/=&\s]+=")


def secret_in_url(url: str) -> str | None:
    """The part of an endpoint that does not belong to its address, in words; None if there is none.

    Args:
        url: The endpoint, or any text in its place.
    """
    if "@" in url:
        return "a user name or password"
    if "?" in url or "#" in url:
        return "a query"
    return None


def secret_in_place(uri: str) -> str | None:
    """The part of a URI that does not belong to `lake://bucket/prefix`, in words; None if there is none.

    A prefix may hold an `@` or a question mark; a bucket's name may not.

    Args:
        uri: The URI of a dataset or a warehouse, or any text in its place.
    """
    host = uri.partition("://")[2].partition("/")[0] if "://" in uri else uri
    if "@" in host or (":" in host and not host.startswith("arn:")):
        return "a user name or password"
    return "a query" if _NAMED.search(uri) else None


def check_endpoint_url(url: str, name: str = "endpoint_url") -> None:
    """Refuse an endpoint that holds a secret, or is no URL.

    Args:
        url: The endpoint.
        name: The name of the argument, for the message.

    Raises:
        InvalidSetting: The address holds a secret, or nothing can be at it; the message does not repeat it.
    """
    shape = "http://HOST:PORT or https://HOST"
    _refuse(secret_in_url(url), name, shape)
    try:
        urlsplit(url)
    except ValueError as error:
        raise InvalidSetting(f"{name} is no URL: {error}", hint=f"Write {shape}") from error


def check_place(uri: str, name: str) -> None:
    """Refuse a dataset's or a warehouse's URI that holds a secret.

    Args:
        uri: The URI.
        name: The name of the argument, for the message.

    Raises:
        InvalidSetting: The address holds a secret; the message names its kind only.
    """
    _refuse(secret_in_place(uri), name, "lake://BUCKET/PREFIX")


def without_secrets(text: str) -> str:
    """A URL, or a text with URLs, without user names, passwords and queries; safe to write down."""
    return _QUERY.sub(rf"\g<address>?{HIDDEN}", _USER.sub("", text))


def _refuse(secret: str | None, name: str, shape: str) -> None:
    if secret is not None:
        raise InvalidSetting(f"{name} must not hold {secret}; write {shape}", hint=HIDDEN_HINT)
