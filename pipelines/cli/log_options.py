"""`--log` and `--log-level`: before the command or after its name, for this process and those that it starts."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import click

from tierlake.connector.observe.configuration import Observing, configure
from tierlake.pipelines.cli.choices import Choice

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["log_options"]

P = ParamSpec("P")
T = TypeVar("T")


def log_options(command: Callable[P, T]) -> Callable[P, T]:
    """Give a command the options; they act by themselves, and are no parameters of it."""
    for option in (
        click.option(
            "--log-level",
            type=Choice(["debug", "info", "warning", "error"]),
            callback=_set,
            expose_value=False,
            is_eager=True,
            help="The lowest level of a log line; see --log. [default: info]",
        ),
        click.option(
            "--log",
            type=Choice(["json", "text", "off"]),
            callback=_set,
            expose_value=False,
            is_eager=True,
            help="Log each request and error to stderr. [default: off]",
        ),
    ):
        command = option(command)
    return command


def _set(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    """Write the variable that the settings read, here and in child processes."""
    if value is not None and not context.resilient_parsing:
        os.environ[f"TIERLAKE_{str(parameter.name).upper()}"] = value
        configure(Observing.of_environment(os.environ))
