"""DuckDB: a secret for its extension httpfs."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tierlake.connector.client.credentials import settled
from tierlake.connector.errors import UnsupportedByServer
from tierlake.connector.interop.options import Statement, default_encryption, region
from tierlake.connector.policy.encryption import SseC, SseKms

if TYPE_CHECKING:
    from tierlake.connector.client.store import Store


def duckdb_secret(store: Store, name: str = "tierlake", *, scope: str | None = None) -> Statement:
    """A `CREATE SECRET` for DuckDB's extension `httpfs`, for `s3://` paths.

    DuckDB can request SSE-KMS with a key, and no other encryption: otherwise its writes get the bucket's default.

    Args:
        store: The store.
        name: The secret's name; one of that name is replaced.
        scope: The paths for which the secret is used, such as `s3://warehouse`; None is all.

    Returns:
        The statement.

    Raises:
        UnsupportedByServer: The policy's default is SSE-C.
    """
    encryption = default_encryption(store)
    if isinstance(encryption, SseC):
        raise UnsupportedByServer("DuckDB", "SSE-C", "duckdb.register_filesystem(fs) and lake:// paths")
    settings = settled(store)
    place = urlsplit(store.endpoint or "")
    options: dict[str, str | None] = {
        "KEY_ID": settings.key,
        "SECRET": settings.secret_of("secret"),
        "SESSION_TOKEN": settings.secret_of("token"),
        "REGION": region(store),
        "ENDPOINT": place.netloc + place.path.rstrip("/"),
        "URL_STYLE": "path" if store.endpoint else None,
        "KMS_KEY_ID": encryption.key_id if isinstance(encryption, SseKms) else None,
        "SCOPE": scope,
    }
    parts = ["TYPE s3", *(f"{option} {_quoted(value)}" for option, value in options.items() if value)]
    if store.endpoint:
        parts.append(f"USE_SSL {str(place.scheme == 'https').lower()}")
    identifier = '"' + name.replace('"', '""') + '"'
    return Statement(f"CREATE OR REPLACE SECRET {identifier} ({', '.join(parts)})")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
