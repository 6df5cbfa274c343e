"""Credentials that are valid now: those of the settings, or what the AWS chain has (environment, files, roles, SSO)."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import botocore.session
from botocore.credentials import RefreshableCredentials
from botocore.exceptions import BotoCoreError
from pydantic import SecretStr

from tierlake.connector.errors import BadCredentials
from tierlake.connector.redact import redact
from tierlake.connector.settings import environment_token

if TYPE_CHECKING:
    from tierlake.connector.client.store import Store
    from tierlake.connector.settings import LakeSettings


def settled(store: Store) -> LakeSettings:
    """The settings with the credentials in them that are valid now, wherever they come from.

    Raises:
        BadCredentials: There are none, or they cannot be renewed.
    """
    settings = store.settings
    if settings.key or store.anon:
        return settings
    try:
        found = _chain(store.aws_profile, environment_token())
        if not isinstance(found, RefreshableCredentials):
            _chain.cache_clear()  # a file may have others next time
        frozen = found.get_frozen_credentials() if found is not None else None
    except BotoCoreError as error:
        raise BadCredentials(f"The AWS chain gave no credentials: {redact(str(error))}") from error
    if frozen is None:
        raise BadCredentials(
            "There are no credentials: no key is set and the AWS chain has none",
            hint="Set TIERLAKE_KEY and TIERLAKE_SECRET, or AWS_PROFILE, or pass key= and secret=",
        )
    wanted = {"key": frozen.access_key, "secret": SecretStr(frozen.secret_key)}
    if frozen.token:
        wanted["token"] = SecretStr(frozen.token)
    return settings.model_copy(update=wanted)


def are_renewed(store: Store) -> bool:
    """Whether the credentials end, and others come from the AWS chain: what was given once is no good for ever."""
    if store.settings.key or store.anon:
        return False
    return isinstance(_chain(store.aws_profile, environment_token()), RefreshableCredentials)


@functools.lru_cache(maxsize=8)
def _chain(aws_profile: str | None, _environment: str) -> Any:
    """Credentials that renew themselves before they end are kept: asking anew may be a request, or a program."""
    return botocore.session.Session(profile=aws_profile).get_credentials()
