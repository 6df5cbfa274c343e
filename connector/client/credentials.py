"""Credentials that are valid now: those of the settings, or of the AWS chain (environment, files, roles, SSO)."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import botocore.session
from botocore.credentials import RefreshableCredentials
from botocore.exceptions import BotoCoreError, NoCredentialsError
from pydantic import SecretStr

from tierlake.connector.client.aws_chain import no_credentials
from tierlake.connector.settings import aws_files_token, environment_token

if TYPE_CHECKING:
    from tierlake.connector.client.store import Store
    from tierlake.connector.settings import LakeSettings


def settled(store: Store) -> LakeSettings:
    """The settings, completed by the credentials that are valid now.

    Raises:
        BadCredentials: There are no credentials, or they cannot be renewed.
    """
    settings = store.settings
    if settings.key or store.anon:
        return settings
    try:
        chain = _chain(store.aws_profile, environment_token(), aws_files_token())
        if not isinstance(chain, RefreshableCredentials) and getattr(chain, "method", None) != "env":
            _chain.cache_clear()  # the file may hold other credentials next time; the environment is part of the key
        frozen = chain.get_frozen_credentials() if chain is not None else None
    except (BotoCoreError, OSError) as error:
        raise no_credentials(error) from error
    if frozen is None:
        raise no_credentials(NoCredentialsError())
    token = SecretStr(frozen.token) if frozen.token else settings.token
    return settings.model_copy(
        update={"key": frozen.access_key, "secret": SecretStr(frozen.secret_key), "token": token}
    )


def are_renewed(store: Store) -> bool:
    """Whether the credentials expire and the AWS chain renews them: a copy of them is valid for a while only."""
    if store.settings.key or store.anon:
        return False
    return isinstance(_chain(store.aws_profile, environment_token(), aws_files_token()), RefreshableCredentials)


@functools.lru_cache(maxsize=8)
def _chain(aws_profile: str | None, _environment: str, _files: tuple[tuple[Any, ...], ...]) -> Any:
    """The AWS chain's credentials, which renew themselves; cached, as a look-up may make a request or run a program."""
    return botocore.session.Session(profile=aws_profile).get_credentials()
