"""Choices that say which one may have been meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tierlake.connector.nearest import did_you_mean

if TYPE_CHECKING:
    from typing import Any

__all__ = ["Choice"]


class Choice(click.Choice[str]):
    """One of some words, as click's; what is none of them is refused with the nearest."""

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        """The refusal, with a suggestion where one is near."""
        refusal = super().get_invalid_choice_message(value, ctx)
        hint = did_you_mean(str(value), self.choices)
        return f"{refusal} {hint}" if hint else refusal
