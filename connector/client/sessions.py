"""Sessions that share botocore's data files, and whose requests are not repeated behind our back.

With the shared data a further client costs 13 ms instead of 70.

Others' own parts that are named in this module: aiobotocore's `AIOHTTPSession._get_session` and the component
`data_loader` of a session, aiohttp's `ClientSession._retry_connection`.
"""

from __future__ import annotations

import copy
from typing import Any

from aiobotocore.httpsession import AIOHTTPSession
from aiobotocore.session import AioSession
from botocore.loaders import Loader, create_loader

from tierlake.connector.client.hashing import bytes_of, hash_in_threads
from tierlake.connector.client.listing_parser import parse_listings_fast
from tierlake.connector.client.payload import LARGE_BYTES, LargeBody

_LOADER: Loader = create_loader()


def new_session(**options: Any) -> AioSession:
    """A session whose large bodies are hashed in threads, and whose listings are parsed fast.

    The session has the shared loader, unless the user's configuration names data files of its own.

    Args:
        **options: Arguments of `aiobotocore.session.AioSession`.
    """
    session = AioSession(**options)
    if session.get_config_variable("data_path") is None:
        session.register_component("data_loader", _LOADER)
    hash_in_threads(session)
    parse_listings_fast(session)
    return session


class HttpSession(AIOHTTPSession):  # type: ignore[misc]  # aiobotocore ships no types
    """An HTTP session that reports broken connections, and sends large bodies without copies.

    aiohttp silently repeats a PUT whose connection ends before the response. A creation whose reply was lost would then
    look like another writer's object. `client.retry.retrying` also repeats it, and knows that a reply was lost.
    """

    async def _get_session(self, proxy_url: str | None) -> Any:
        session = await super()._get_session(proxy_url)
        session._retry_connection = False  # noqa: SLF001 -- as in aiohttp's own test client; there is no argument
        return session

    async def send(self, request: Any) -> Any:
        """Send a request once; a large body piece by piece."""
        body = bytes_of(request.body)
        if body is not None and body.nbytes > LARGE_BYTES:
            in_pieces = copy.copy(request)
            in_pieces.body = LargeBody(body)
            return await super().send(in_pieces)
        return await super().send(request)
