"""One client, session and connection pool for all filesystems that reach the store in the same way.

s3fs makes a client for each filesystem. Here filesystems with equal endpoint, credentials and configuration share one
while any of them lives, so filesystems for a thousand tables need no further connections.

s3fs's own parts that are named in this module: `S3FileSystem.set_session`, `get_s3` and the attributes `_s3`,
`_s3creator`, `session`, `_session_is_owned` and `cache_regions`.
"""

from __future__ import annotations

import os
import platform
import threading
import weakref
from importlib import metadata
from typing import TYPE_CHECKING, Any

from fsspec.utils import tokenize
from s3fs import S3FileSystem

from tierlake.connector.client.aws_chain import chain_in_words
from tierlake.connector.client.native import Native
from tierlake.connector.client.native_stores import NativeStores
from tierlake.connector.client.sessions import HttpSession, new_session
from tierlake.connector.settings import aws_files_token, environment_token

if TYPE_CHECKING:
    from collections.abc import Mapping

POOL_CONNECTIONS = 32
"""The largest number of requests that our own work makes in parallel; botocore's 10 are meant for one thread."""
_USER_AGENT = f"tierlake aiobotocore/{metadata.version('aiobotocore')} python/{platform.python_version()}"
"""Given, so that botocore does not put one together for each request, which is an eighth of a small request's work."""
_CLIENT_OPTIONS = (
    "anon",
    "cache_regions",
    "client_kwargs",
    "config_kwargs",
    "endpoint_url",
    "event_hooks",
    "include_builtin_handlers",
    "key",
    "loop",
    "profile",
    "secret",
    "session",
    "session_vars",
    "token",
    "use_ssl",
)
"""Arguments of `s3fs.S3FileSystem` on which its client depends."""

_connections: weakref.WeakValueDictionary[str, Connection] = weakref.WeakValueDictionary()
_shared: weakref.WeakSet[Connection] = weakref.WeakSet()
"""Also those that nobody can find any more, as long as somebody uses them."""
_lock = threading.Lock()


def _forget_after_fork() -> None:
    """Drop the parent's connections and lock in a child process, which has neither its loop nor its sockets."""
    global _lock  # noqa: PLW0603 -- another thread of the parent may hold the old one
    _lock = threading.Lock()
    _connections.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)


class Connection:
    """A client that is made on first use, and closed with the last filesystem that uses it.

    Args:
        options: Arguments of `s3fs.S3FileSystem`.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        config = dict(options.get("config_kwargs") or {})
        config.setdefault("signature_version", "s3v4")
        config.setdefault("http_session_cls", HttpSession)
        config.setdefault("retries", {"total_max_attempts": 1, "mode": "standard"})
        config.setdefault("max_pool_connections", POOL_CONNECTIONS)
        config.setdefault("user_agent", _USER_AGENT)
        self._options = {**options, "config_kwargs": config}
        self._s3fs = S3FileSystem(**self._options, skip_instance_cache=True)
        self._native: Native | None = None
        self._native_session: Any = None

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Connection:
        """The connection for these options, shared by all filesystems of this process on the same event loop.

        Args:
            options: Arguments of `s3fs.S3FileSystem`; those that do not concern the client are ignored.
        """
        own = {name: options[name] for name in _CLIENT_OPTIONS if options.get(name) is not None}
        if options.get("asynchronous"):  # its event loop is the caller's, which is not known yet
            return cls({**own, "asynchronous": True})
        identity = tokenize(environment_token(), aws_files_token(), id(own.get("session")), id(own["loop"]), **own)
        with _lock:
            shared = _connections.get(identity)
            if shared is None:
                shared = _connections[identity] = cls(own)
                _shared.add(shared)
        return shared

    async def client(self, bucket: str | None = None, *, refresh: bool = False) -> Any:
        """The aiobotocore client.

        Args:
            bucket: A bucket; if regions are looked up, the client is that of its region.
            refresh: Make a new client, with new credentials.
        """
        with chain_in_words():
            if self._s3fs.session is None:
                self._s3fs.session, self._s3fs._session_is_owned = new_session(**self._s3fs.kwargs), True  # noqa: SLF001
            client = await self._s3fs.set_session(refresh=refresh)
        return client if bucket is None else await self._s3fs.get_s3(bucket)

    def native(self, client: Any) -> Native:
        """The other engine beside the client, obstore: the same endpoint, the session's credentials.

        Args:
            client: The client, or one of a bucket's region.
        """
        session = self._s3fs.session
        if self._native is None or self._native_session is not session:
            config = client.meta.config
            stores = NativeStores(self._options, session)
            self._native = Native(stores, client.meta.endpoint_url, config.connect_timeout + config.read_timeout)
            self._native_session = session
        return self._native

    def retire(self) -> None:
        """Whoever comes from now on has another one: the store refuses these credentials, and there may be new ones."""
        self._native = None
        with _lock:
            for identity in [identity for identity, shared in _connections.items() if shared is self]:
                del _connections[identity]

    @property
    def region(self) -> str | None:
        """The client's region; None before the client is made."""
        client = self._s3fs._s3  # noqa: SLF001 -- see above
        region: str | None = client.meta.region_name if client is not None else None
        return region


def is_shared(client: Any) -> bool:
    """Whether other filesystems may use a client too."""
    return client is not None and any(one._s3fs._s3 is client for one in list(_shared))  # noqa: SLF001 -- see above


class ConnectionAttribute:
    """An attribute in which s3fs keeps its client, redirected to the shared connection."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, fs: Any, owner: type | None = None) -> Any:
        return self if fs is None else getattr(fs.store.connection._s3fs, self._name, None)  # noqa: SLF001 -- see above

    def __set__(self, fs: Any, value: Any) -> None:
        """Ignore the value: s3fs's constructor sets what an unshared filesystem would need."""
