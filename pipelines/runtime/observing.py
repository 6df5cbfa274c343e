"""What is observed, as the environment says, before a filesystem is made that would say so."""

from __future__ import annotations

from contextlib import suppress

from tierlake.connector.errors import InvalidSetting
from tierlake.connector.observe import configuration

__all__ = ["observe_as_configured"]


def observe_as_configured() -> None:
    """Observe what the environment asks for; what needs the settings says what is wrong with them."""
    from tierlake.connector.settings import (
        LakeSettings,
    )  # what is only defined, such as Dagster's assets, loads without

    with suppress(InvalidSetting):
        configuration.configure(LakeSettings.of().observing)
