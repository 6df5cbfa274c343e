"""Stores of obstore for one connection: its client's endpoint, credentials, certificates, proxy and time-outs.

Lists below name the options that are understood. Any other option, and what obstore would read from the environment
without a way to override it, leaves all requests to aiobotocore.
"""

from __future__ import annotations

import base64
import os
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from botocore.credentials import ReadOnlyCredentials, RefreshableCredentials
from botocore.exceptions import NoCredentialsError
from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies

from tierlake.connector.client.recent import Recent
from tierlake.connector.settings import DEFAULT_REGION, is_aws

if TYPE_CHECKING:
    from collections.abc import Mapping

_STORES_MAX = 64
"""Stores that are kept for each connection; each has a pool of its own."""
_OPTIONS = frozenset(
    {
        "anon",
        "asynchronous",
        "cache_regions",
        "client_kwargs",
        "config_kwargs",
        "endpoint_url",
        "key",
        "loop",
        "profile",
        "secret",
        "token",
        "use_ssl",
    }
)
_CONFIG = frozenset(
    {
        "connect_timeout",
        "http_session_cls",
        "max_pool_connections",
        "proxies",
        "read_timeout",
        "region_name",
        "retries",
        "s3",
        "signature_version",
        "user_agent",
    }
)
_CLIENT = frozenset(
    {
        "aws_access_key_id",
        "aws_secret_access_key",
        "aws_session_token",
        "endpoint_url",
        "region_name",
        "use_ssl",
        "verify",
    }
)
_STYLES = frozenset({None, "auto", "path", "virtual"})
_NOT_OVERRIDDEN = frozenset(
    {
        "AWS_CHECKSUM_ALGORITHM",
        "AWS_SERVER_SIDE_ENCRYPTION",
        "AWS_SSE_BUCKET_KEY_ENABLED",
        "AWS_SSE_CUSTOMER_KEY_BASE64",
        "AWS_SSE_KMS_KEY_ID",
    }
)
"""Variables that obstore reads, and for which it has no value that means none."""
_PROXY_VARIABLES = frozenset({"all_proxy", "http_proxy", "https_proxy"})
_NOWHERE = "http://127.0.0.1:9"
_PLAIN_BUCKET = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_DOTTED_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_ASKED_AGAIN = timedelta(minutes=1)
"""For credentials that are renewed: obstore asks 5 minutes before they expire, so for each request."""
_FOREVER = timedelta(days=365)
_USER_AGENT = "tierlake obstore"


@dataclass(frozen=True)
class Kind:
    """What one store is for; requests that differ in it need different stores.

    Args:
        bucket: The bucket.
        encryption: Parameters of the encryption, sorted: those of new objects, or the customer's key of a read.
        is_payer: The requester pays.
        writes: It writes: sending a large body takes longer than any wait for a response.
    """

    bucket: str
    encryption: tuple[tuple[str, Any], ...] = field(default=(), repr=False)
    is_payer: bool = False
    writes: bool = False


class NativeStores:
    """The stores of one connection.

    Args:
        options: Arguments of `s3fs.S3FileSystem`, those of the connection.
        session: The aiobotocore session of its client, which has the credentials.
    """

    def __init__(self, options: Mapping[str, Any], session: Any) -> None:
        self._options = options
        self._session = session
        self._config: dict[str, Any] = dict(options.get("config_kwargs") or {})
        self._client: dict[str, Any] = dict(options.get("client_kwargs") or {})
        self._kept = Recent[Kind, Any](_STORES_MAX)
        self._credentials = self._explicit_credentials()
        self._are_constant = bool(options.get("anon")) or bool(self._credentials.access_key)
        self.are_possible = self._are_understood()

    def _are_understood(self) -> bool:
        s3 = self._config.get("s3") or {}
        names = (self._options.keys() - _OPTIONS) | (self._config.keys() - _CONFIG) | (self._client.keys() - _CLIENT)
        return (
            not names
            and self._config.get("signature_version", "s3v4") == "s3v4"
            and s3.keys() <= {"addressing_style"}
            and s3.get("addressing_style") in _STYLES
            and isinstance(self._client.get("verify"), bool | str | None)
        )

    def of(self, kind: Kind, client: Any) -> Any | None:
        """The store for requests of one kind; None if there is none.

        Args:
            kind: What it is for.
            client: The aiobotocore client of the bucket's region.
        """
        store = self._kept.get(kind)
        if store is None:
            place = self._place(kind.bucket, client)
            if place is None:
                return None
            try:
                store = self._kept[kind] = self._made(kind, client, **place)
            except (OSError, ValueError):  # of the authorities' file: aiobotocore says what is wrong with it
                return None
        return store

    # -- where -------------------------------------------------------------------------------------

    def _place(self, bucket: str, client: Any) -> dict[str, Any] | None:
        """The options for the bucket's URL; None where botocore's rules are not ours."""
        config = client.meta.config
        s3: Mapping[str, Any] = config.s3 or {}
        others = {name for name, value in s3.items() if value and name != "addressing_style"}
        if (
            others
            or config.use_dualstack_endpoint
            or config.use_fips_endpoint
            or not _NOT_OVERRIDDEN.isdisjoint(os.environ)
        ):
            return None
        endpoint: str = client.meta.endpoint_url
        url, style = urlsplit(endpoint), s3.get("addressing_style")
        if not _DOTTED_BUCKET.fullmatch(bucket) or url.path.strip("/") or url.query or url.username:
            return None
        is_ours = (
            is_aws(endpoint) and self._options.get("endpoint_url") is None and not self._client.get("endpoint_url")
        )
        virtual = style == "virtual" or (is_ours and style != "path")
        if virtual and not _PLAIN_BUCKET.fullmatch(bucket):
            return None
        host = f"{bucket}.{url.netloc}" if virtual else url.netloc
        return {"endpoint": f"{url.scheme}://{host}", "virtual_hosted_style_request": virtual}

    # -- how ---------------------------------------------------------------------------------------

    def _made(self, kind: Kind, client: Any, **place: Any) -> Any:
        from obstore.store import S3Store

        anon = bool(self._options.get("anon"))
        config: Any = {
            **place,
            **_encryption(dict(kind.encryption)),
            "region": client.meta.region_name if client.meta.region_name != "aws-global" else DEFAULT_REGION,
            "conditional_put": "etag",
            "disable_tagging": False,
            "request_payer": kind.is_payer,
            "s3_express": False,
            "skip_signature": anon,
            "unsigned_payload": False,
        }
        provider: Any = None if anon else self._provided
        return S3Store(
            kind.bucket,
            config=config,
            client_options=self._http(place["endpoint"], writes=kind.writes),
            retry_config={"max_retries": 0, "retry_timeout": _FOREVER},
            credential_provider=provider,
        )

    def _http(self, endpoint: str, *, writes: bool) -> Any:
        url = urlsplit(endpoint)
        connect, read = self._config.get("connect_timeout", 60), self._config.get("read_timeout", 60)
        options: dict[str, Any] = {
            "allow_http": url.scheme == "http",
            "connect_timeout": timedelta(seconds=connect),
            "timeout": _FOREVER,
            "user_agent": self._config.get("user_agent", _USER_AGENT),
        }
        if not writes:  # the time of a request's body would count
            options["read_timeout"] = timedelta(seconds=read if read > connect else connect + read)
        return {**options, **self._proxy(endpoint), **(self._certificates() if url.scheme == "https" else {})}

    def _proxy(self, endpoint: str) -> dict[str, Any]:
        """The proxy that botocore would take; obstore's own look at the environment differs in details."""
        url = urlsplit(endpoint)
        proxies = self._config.get("proxies")
        if proxies is None:
            proxies = get_environ_proxies(endpoint)
        proxy = proxies.get(url.scheme)
        if proxy:
            return {"proxy_url": proxy if "://" in proxy else f"http://{proxy}"}
        if any(name.lower() in _PROXY_VARIABLES for name in os.environ):
            return {"proxy_url": _NOWHERE, "proxy_excludes": str(url.hostname)}
        return {}

    def _certificates(self) -> dict[str, Any]:
        """The authorities that botocore would trust, and no other."""
        verify: Any = self._client.get("verify")
        if verify is None:
            verify = self._session.get_config_variable("ca_bundle")
        if verify is None:
            verify = os.environ.get("REQUESTS_CA_BUNDLE") or True
        if verify is False:
            return {"allow_invalid_certificates": True}
        bundle = Path(get_cert_path(verify))
        return {"disable_system_certificates": True, "root_certificate": bundle.read_bytes()}

    # -- who ---------------------------------------------------------------------------------------

    def _explicit_credentials(self) -> ReadOnlyCredentials:
        names = {"key": "aws_access_key_id", "secret": "aws_secret_access_key", "token": "aws_session_token"}
        values = [self._options.get(name) or self._client.get(long) for name, long in names.items()]
        return ReadOnlyCredentials(*values, None)

    async def look_up_credentials(self) -> None:
        """See to it that the credentials are valid now: the session's own, which renews them if they expire.

        Raises:
            NoCredentialsError: There are none.
        """
        if self._are_constant:
            return
        held = await self._session.get_credentials()
        if held is None:
            raise NoCredentialsError
        self._credentials = await held.get_frozen_credentials()
        self._are_constant = not isinstance(held, RefreshableCredentials)

    def _provided(self) -> dict[str, Any]:
        """The credentials in obstore's form; it asks again for each request where they are renewed."""
        held = self._credentials
        return {
            "access_key_id": held.access_key,
            "secret_access_key": held.secret_key,
            "token": held.token or None,
            "expires_at": None if self._are_constant else datetime.now(UTC) + _ASKED_AGAIN,
        }


def _encryption(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of a request as a store's options."""
    if "SSECustomerKey" in parameters:
        key = parameters["SSECustomerKey"]
        raw = key.encode() if isinstance(key, str) else key
        return {"server_side_encryption": "sse-c", "sse_customer_key_base64": base64.b64encode(raw).decode()}
    names = {
        "ServerSideEncryption": "server_side_encryption",
        "SSEKMSKeyId": "sse_kms_key_id",
        "BucketKeyEnabled": "sse_bucket_key_enabled",
    }
    return {names[name]: value for name, value in parameters.items()}
