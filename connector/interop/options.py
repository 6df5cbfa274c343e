"""The common parts of other libraries' clients: options with hidden secrets, the region, the encryption."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import botocore.session

from tierlake.connector.settings import DEFAULT_REGION, is_aws

if TYPE_CHECKING:
    from tierlake.connector.client.store import Store
    from tierlake.connector.policy.encryption import Encryption

_SECRET = re.compile(r"secret|token|password|customer_key|encryption\.key|sse-c:", re.IGNORECASE)


class Options(dict[str, Any]):
    """Options for a library, whose repr hides the secrets among them."""

    def __repr__(self) -> str:
        return repr({n: "<hidden>" if _SECRET.search(n) or _SECRET.search(str(v)) else v for n, v in self.items()})


class Statement(str):
    """An SQL statement that holds a secret: its text is complete, its repr is not."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{self.partition('(')[0]!r} (<hidden>)"


def region(store: Store) -> str:
    """The region that clients have to name."""
    region: str | None = store.settings.region
    if region is None and (store.endpoint is None or is_aws(store.endpoint)):
        region = botocore.session.Session(profile=store.aws_profile).get_config_variable("region")
    return region or DEFAULT_REGION


def default_encryption(store: Store) -> Encryption:
    """The write policy's default encryption, or that of the log of the table that this store writes."""
    bucket, _, prefix = (store.table_root or "").partition("/")
    return (
        store.policy.for_key(bucket, f"{prefix}/_delta_log/").encryption
        if store.table_root
        else store.settings.encryption
    )


def is_plain_http(store: Store) -> bool:
    """Whether requests travel in clear."""
    return bool(store.endpoint) and urlsplit(store.endpoint).scheme == "http"
