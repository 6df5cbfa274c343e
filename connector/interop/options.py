"""What the clients of other libraries have in common: options without shown secrets, the region, the encryption."""

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
    """An SQL statement that holds a secret: the text is whole, the repr is not."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{self.partition('(')[0]!r} (<hidden>)"


def region(store: Store) -> str:
    """The region that clients must name."""
    said: str | None = store.settings.region
    if said is None and (store.endpoint is None or is_aws(store.endpoint)):
        said = botocore.session.Session(profile=store.aws_profile).get_config_variable("region")
    return said or DEFAULT_REGION


def default_encryption(store: Store) -> Encryption:
    """What the write policy says where no rule matches, or at the root of the table that this instance writes."""
    bucket, _, prefix = (store.table_root or "").partition("/")
    return (
        store.policy.for_key(bucket, f"{prefix}/_delta_log/").encryption
        if store.table_root
        else store.settings.encryption
    )


def is_plain_http(store: Store) -> bool:
    """Whether requests are not encrypted on their way."""
    return bool(store.endpoint) and urlsplit(store.endpoint).scheme == "http"
