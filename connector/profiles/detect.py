"""The server behind an endpoint, known by the `Server` header of any response, and cached by endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tierlake.connector.profiles import Profile, get_profile, profile_for_server_header
from tierlake.connector.settings import is_aws

if TYPE_CHECKING:
    from collections.abc import Mapping

ENDPOINTS_MAX = 1000
_headers: dict[str, str] = {}


def observe(endpoint_url: str, response: Mapping[str, Any]) -> None:
    """Note the server behind an endpoint from a response, successful or not."""
    if endpoint_url in _headers:
        return
    header = response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("server")
    if header:
        if len(_headers) >= ENDPOINTS_MAX:
            _headers.pop(next(iter(_headers), ""), None)  # it is noted again with its next response
        _headers[endpoint_url] = header


def known_profile(name: str | None, endpoint_url: str | None) -> Profile | None:
    """The profile, if it is known without a request.

    Args:
        name: The profile that the settings name.
        endpoint_url: The endpoint; None is AWS.

    Returns:
        The profile; None if the endpoint has not answered yet.
    """
    if name:
        return get_profile(name)
    if endpoint_url is None or is_aws(endpoint_url):
        return get_profile("aws")
    header = _headers.get(endpoint_url)
    return profile_for_server_header(header) if header else None
