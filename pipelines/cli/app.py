"""The program: finds the command, runs it, turns what it raises into an exit code and a line."""

from __future__ import annotations

import os
import sys
from functools import partial
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

import click

from tierlake.connector.errors import LakeError
from tierlake.connector.observe.edges import left
from tierlake.connector.observe.hooks import flush
from tierlake.pipelines.cli.commands import COMMANDS, EXAMPLES, FAMILIES, OTHERS, PLUGIN_LINES
from tierlake.pipelines.cli.failures import ExitCode, Failure
from tierlake.pipelines.cli.log_options import log_options
from tierlake.pipelines.cli.trace import trace

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

__all__ = ["COMMANDS", "cli", "main"]

PLUGINS = "tierlake.commands"
_NAME_WIDTH = 10
"""Of the longest name: the families are one table."""


class _Commands(click.Group):
    """Imports a command's module when it is asked for, so that `--help` and `--version` answer at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Ours in the order of a dataset's life, then what entry points add."""
        return [*COMMANDS, *sorted(entry_points(group=PLUGINS).names - set(COMMANDS))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - likewise
        """The command, with its examples; None when nobody has it."""
        module = COMMANDS.get(cmd_name)
        if module is not None:
            command: click.Command = getattr(
                import_module(f"tierlake.pipelines.cli.{module}"), cmd_name.replace("-", "_")
            )
            return _with_examples(command, cmd_name)
        for plugin in entry_points(group=PLUGINS, name=cmd_name):
            loaded: click.Command = plugin.load()
            return loaded
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, whose own list of commands is empty here."""
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:
            known = self.list_commands(ctx)
            raise click.NoSuchCommand(error.command_name, possibilities=known, ctx=ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The families, each with an example. Of our own commands none is imported."""
        installed = self.list_commands(ctx)
        for family in FAMILIES:
            with formatter.section(family.title):
                lines = [(f"{name:{_NAME_WIDTH}}", line) for name, _, line in family.commands if name in installed]
                formatter.write_dl(lines)
                formatter.write(f"{'':{formatter.current_indent}}$ {family.example}\n")  # whole, to be copied
        others = [name for name in installed if name not in COMMANDS and name not in PLUGIN_LINES]
        commands = {name: command for name in others if (command := self.get_command(ctx, name))}
        if commands:
            with formatter.section(OTHERS):
                formatter.write_dl([(name, command.get_short_help_str()) for name, command in commands.items()])


def _with_examples(command: click.Command, name: str) -> click.Command:
    """The command; its help, and that of the commands below it, ends with examples."""
    examples = EXAMPLES.get(name, ())
    if examples:
        command.epilog = "\n".join(["\b", "Examples:", *(f"  {example}" for example in examples)])
    for below in getattr(command, "commands", {}).values():
        _with_examples(below, f"{name} {below.name}")
    return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tierlake")
@log_options
@trace
def cli() -> None:
    """Keep Parquet datasets in S3 or MinIO cheap, encrypted and consistent.

    DATASET is a URI (lake://bucket/prefix) or a YAML file that describes it. KEY is a partition as `ls` prints it
    (date=2013-07-04). A date means the start of that day in the dataset's timezone. `tierlake COMMAND --help` has
    examples of each.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit.

    Args:
        arguments: What follows the program's name; the process's own arguments by default.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in given
    if os.environ.get("TIERLAKE_DEBUG", "0") not in {"", "0"}:
        sys.exit(cli.main(given, prog_name="tierlake", standalone_mode=False))
    sys.excepthook = partial(_tell_bug, as_json=as_json)
    try:
        code = cli.main(given, prog_name="tierlake", standalone_mode=False)
    except click.ClickException as error:
        code = Failure.of_usage(error).report(as_json=as_json)
    except click.Abort:
        interrupted = Failure.plainly("interrupted", "interrupted", exit_code=ExitCode.INTERRUPTED)
        code = interrupted.report(as_json=as_json)
    except (LakeError, OSError) as error:
        left("tierlake", error)
        flush()
        code = Failure.of(error).report(as_json=as_json)
    sys.exit(code)


def _tell_bug(kind: type[BaseException], error: BaseException, _trace: TracebackType | None, *, as_json: bool) -> None:
    """What nobody foresaw: no traceback in a user's face, but a way to get it."""
    Failure.plainly(
        "unexpected",
        f"unexpected {kind.__name__}: {error}",
        hint="a bug in tierlake or in a library; TIERLAKE_DEBUG=1 shows where it comes from",
    ).report(as_json=as_json)
