"""Sessions: what botocore reads from its data files is shared, and no request is repeated behind our back.

With the shared data a further client costs 13 ms and not 70.

Others' own parts that are named in this module: aiobotocore's `AIOHTTPSession._get_session` and the component
`data_loader` of a session, aiohttp's `ClientSession._retry_connection`.
"""

from __future__ import annotations

from typing import Any

from aiobotocore.httpsession import AIOHTTPSession
from aiobotocore.session import AioSession
from botocore.loaders import Loader, create_loader

from tierlake.connector.client.hashing import hash_in_threads

_LOADER: Loader = create_loader()


def new_session(**options: Any) -> AioSession:
    """A session whose large bodies are hashed in threads.

    It has the shared loader, unless the user's configuration names data files of its own.

    Args:
        **options: Arguments of `aiobotocore.session.AioSession`.
    """
    session = AioSession(**options)
    if session.get_config_variable("data_path") is None:
        session.register_component("data_loader", _LOADER)
    hash_in_threads(session)
    return session


class HttpSession(AIOHTTPSession):  # type: ignore[misc]  # aiobotocore ships no types
    """Connections that say when they broke.

    aiohttp repeats a PUT by itself where the connection ends before the answer, and tells nobody: a creation whose
    reply was lost would then be somebody else's object. `client.retry.retrying` does the same, and knows.
    """

    async def _get_session(self, proxy_url: str | None) -> Any:
        session = await super()._get_session(proxy_url)
        session._retry_connection = False  # noqa: SLF001 -- as aiohttp's own test client does; there is no argument
        return session
