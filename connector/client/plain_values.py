"""The filesystem's constructor arguments as values that JSON has."""

from __future__ import annotations

import base64
import dataclasses
import re
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from tierlake.connector.policy.encryption import SseC, SseKms, SseS3, Unencrypted, encryption_text
from tierlake.connector.policy.rules import WriteRule
from tierlake.connector.settings import LakeSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

_SECRET_NAME = re.compile(r"secret|token|password|SSECustomerKey|^(args|settings|session|username)$", re.IGNORECASE)


def plain_options(options: Mapping[str, Any], *, include_secrets: bool) -> dict[str, Any]:
    """The arguments as values that JSON has.

    Args:
        options: The arguments.
        include_secrets: With secrets, customer keys included.

    Returns:
        Arguments that make an equal filesystem, as far as secrets are included.
    """
    merged = dict(options)
    settings = merged.pop("settings", None)
    if isinstance(settings, LakeSettings):
        explicit = {name: getattr(settings, name) for name in settings.model_fields_set}
        merged = {**{name: value for name, value in explicit.items() if value is not None}, **merged}
    return {
        name: _plain(value, include_secrets=include_secrets)
        for name, value in merged.items()
        if value is not None and (include_secrets or not _is_secret(name, value))
    }


def _is_secret(name: str, value: Any) -> bool:
    return bool(_SECRET_NAME.search(name)) or isinstance(value, SseC)


def _plain(value: Any, *, include_secrets: bool) -> Any:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, SseC):
        return f"sse-c:{base64.b64encode(value.key).decode()}"
    if isinstance(value, SseS3 | SseKms | Unencrypted):
        return encryption_text(value)
    if isinstance(value, WriteRule):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return plain_options(value, include_secrets=include_secrets)
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item, include_secrets=include_secrets) for item in value]
    return value
