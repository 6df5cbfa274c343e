"""Why a request got no answer, in one sentence with the way out, whichever library made the request.

Each library wraps the cause in a text of its own: botocore quotes the whole URL, aiohttp names its classes, Rust prints
a chain with arrows. What they share are the words of the operating system, of OpenSSL and of rustls for the cause.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tierlake.connector.errors import EndpointUnreachable
from tierlake.connector.redact import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["HTTPS_ONLY", "cause_in", "unreachable"]

HTTPS_ONLY = "http request to an https server"
"""What servers answer, in lower case, where only TLS is spoken."""

_CAUSES_MAX = 8
_SHOWN = 200
_NAME_IT = "--endpoint-url or TIERLAKE_ENDPOINT_URL"


@dataclass(frozen=True, slots=True)
class _Cause:
    """A cause, as libraries spell it and as we tell it.

    Attributes:
        words: Any of them, in lower case, tells the cause.
        sentence: What happened.
        hint: What to do; `{other}` is the endpoint with the other of http and https.
    """

    words: tuple[str, ...]
    sentence: str
    hint: str


_CAUSES = (
    _Cause(
        (
            "certificate_verify_failed",
            "unknownissuer",
            "invalid peer certificate",
            "self-signed",
            "self signed",
            "x509:",
        ),
        "its certificate is not signed by an authority that this machine trusts",
        "Name the authority's certificate: AWS_CA_BUNDLE=/path/to/authority.pem",
    ),
    _Cause(
        ("wrong_version_number", "invalidcontenttype", "record layer failure", "http response to https"),
        "it does not speak TLS",
        f"Write {{other}} as the endpoint ({_NAME_IT}); a host other than this machine needs TIERLAKE_ALLOW_HTTP=1",
    ),
    _Cause(
        (HTTPS_ONLY, "http request was sent to https"),
        "it speaks TLS only",
        f"Write {{other}} as the endpoint ({_NAME_IT})",
    ),
    _Cause(
        ("failed to connect to proxy", "proxyconnectionerror", "proxy authentication required"),
        "the proxy on the way cannot be connected",
        "Check HTTPS_PROXY and HTTP_PROXY, and name the host in NO_PROXY where no proxy is needed",
    ),
    _Cause(
        (
            "name or service not known",
            "nodename nor servname",
            "temporary failure in name resolution",
            "failed to lookup address",
            "getaddrinfo failed",
            "no such host",
            "dns error",
        ),
        "no such host is known",
        f"Check the name in the endpoint ({_NAME_IT})",
    ),
    _Cause(
        ("connection refused", "connect call failed", "connectionrefused", "actively refused"),
        "nothing listens there, the connection was refused",
        f"Start the server, or check host and port of the endpoint ({_NAME_IT}); `tierlake server` runs one here",
    ),
    _Cause(
        ("network is unreachable", "no route to host", "host is unreachable"),
        "no network leads there",
        "Check the network, the VPN, and the endpoint's address",
    ),
    _Cause(
        ("connect timeout", "connecttimeout", "connection timed out", "connection timeout to host"),
        "connecting took too long",
        f"Check host and port of the endpoint ({_NAME_IT}) and firewalls; TIERLAKE_CONNECT_TIMEOUT=30 waits longer",
    ),
    _Cause(
        (
            "read timeout",
            "readtimeout",
            "timeout on reading",
            "deadline has elapsed",
            "timed out",
            "timedout",
            "timeouterror",
        ),
        "no answer came in time",
        "Try again; TIERLAKE_READ_TIMEOUT=300 waits longer",
    ),
    _Cause(
        (
            "connection reset",
            "connectionreset",
            "server disconnected",
            "connection was closed",
            "broken pipe",
            "closed before message",
            "error decoding response body",
            "or response body",
            "response payload is not completed",
        ),
        "the connection was closed before the answer was whole",
        "Try again; check the network, and what is between here and the server",
    ),
)
"""The first whose words are found is told: certificates come before TLS, and TLS before sockets."""


_NO_AUTHORITIES = _Cause(
    ("filenotfounderror", "isadirectoryerror", "no_certificate_or_crl_found"),
    "the certificates to check it with cannot be read",
    "Check the path in AWS_CA_BUNDLE: it has to be a file of certificates in PEM",
)
"""Only of a request, which opens no other file; elsewhere a missing file is just that."""


def cause_in(error: BaseException | str) -> str | None:
    """What happened to a connection, as a library's error or text tells; None if it does not."""
    cause = _cause(error if isinstance(error, str) else "\n".join(_texts(error)))
    return None if cause is None else cause.sentence


def _cause(text: str, causes: Sequence[_Cause] = _CAUSES) -> _Cause | None:
    lowered = text.lower()
    return next((cause for cause in causes if any(words in lowered for words in cause.words)), None)


def unreachable(error: BaseException | str, endpoint: str, **context: Any) -> EndpointUnreachable:
    """The error for a request without an answer.

    Args:
        error: A library's error, with its causes, or its text.
        endpoint: The endpoint's URL, or words for it.
        **context: Further fields of the error.
    """
    text = error if isinstance(error, str) else "\n".join(_texts(error))
    cause = _cause(text, (_NO_AUTHORITIES, *_CAUSES))
    if cause is not None:
        hint = cause.hint.format(other=_other(endpoint))
        return EndpointUnreachable(f"No answer from {endpoint}: {cause.sentence}", hint=hint, **context)
    shown = one_line(text.partition("\n")[0], _SHOWN) or type(error).__name__
    hint = f"Check the endpoint ({_NAME_IT}), and whether the server runs"
    return EndpointUnreachable(f"No answer from {endpoint}: {shown}", hint=hint, **context)


def _texts(error: BaseException) -> Iterator[str]:
    """The texts of an error and of its causes; botocore keeps the cause among its own arguments."""
    at: BaseException | None = error
    for _ in range(_CAUSES_MAX):
        if at is None:
            return
        yield str(at) or type(at).__name__
        yield type(at).__name__
        kept = getattr(at, "kwargs", None)
        inner = kept.get("error") if isinstance(kept, dict) else None
        at = inner if isinstance(inner, BaseException) else at.__cause__ or at.__context__


def _other(endpoint: str) -> str:
    parts = urlsplit(endpoint)
    scheme = {"https": "http", "http": "https"}.get(parts.scheme)
    return f"{scheme}://{parts.netloc}" if scheme else "http:// in place of https://"
