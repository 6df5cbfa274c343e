"""What commands have in common: `--json`, `--profile`, `--endpoint-url`, asking first, DATASET, KEY... and dates."""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec

import click

from tierlake.connector.nearest import nearest
from tierlake.pipelines.cli.choices import Choice
from tierlake.pipelines.cli.log_options import log_options
from tierlake.pipelines.cli.output import Output
from tierlake.pipelines.cli.trace import command_span, trace
from tierlake.pipelines.runtime.page import SHOWS_ALL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tierlake.connector.filesystem import LakeFileSystem
    from tierlake.pipelines.dataset import Dataset
    from tierlake.pipelines.model.selection import Selection
    from tierlake.pipelines.model.spec import DatasetSpec
    from tierlake.pipelines.model.text_options import TextOptions

__all__ = [
    "DATE",
    "KEY",
    "SIZE",
    "Session",
    "all_rows",
    "as_of",
    "dask",
    "dataset",
    "dry_run",
    "keys",
    "named",
    "no_undo",
    "partitions",
    "spec_in",
    "text",
    "text_options",
    "with_session",
    "yes",
]

P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class Session:
    """One run of one command: its voice and the server that it talks to."""

    out: Output
    profile: str | None
    endpoint_url: str | None

    def filesystem(self) -> LakeFileSystem:
        """The connector, as options and environment say."""
        from tierlake.connector.filesystem import LakeFileSystem

        return LakeFileSystem(profile=self.profile, endpoint_url=self.endpoint_url)

    def dataset(self, named: str) -> Dataset:
        """The dataset at a URI, or the one that a YAML file describes.

        Raises:
            TableNotFound: Nobody created it.
            SpecDiffers: The file is not what is stored with the dataset.
        """
        from tierlake.pipelines.dataset import Dataset

        return Dataset.open(named if "://" in named else _file(Path(named)), fs=self.filesystem())

    def note_failures(self, failed: Mapping[str, str]) -> None:
        """Say what failed, a line for each partition."""
        for key, error in failed.items():
            self.out.note(f"error: {error}" if error.startswith(key) else f"error: {key}: {error}")

    def confirm(self, question: str, *, yes: bool) -> bool:
        """Ask before something is changed, unless `--yes` said it already.

        Raises:
            click.UsageError: There is nobody to ask.
        """
        if yes:
            return True
        if not sys.stdin.isatty():
            message = f"{question} There is no terminal to ask at: say --yes."
            raise click.UsageError(message, click.get_current_context())
        return click.confirm(question, err=True)


def spec_in(path: Path) -> DatasetSpec:
    """The spec in a YAML file."""
    from tierlake.pipelines.model.spec import DatasetSpec

    return DatasetSpec.from_yaml(_file(path))


def _file(path: Path) -> Path:
    if not path.is_file():
        # it may be a URL with a password
        shown = "what stands for the dataset" if "@" in str(path) else repr(str(path))
        message = f"{shown} is neither a URI (lake://bucket/prefix) nor a YAML file"
        near = nearest(path.name, [one.name for one in path.parent.glob("*.y*ml")]) if path.parent.is_dir() else None
        message += f". Did you mean {str(path.with_name(near))!r}?" if near else ""
        raise click.UsageError(message, click.get_current_context())
    return path


def with_session(command: Callable[Concatenate[Session, P], int | None]) -> Callable[P, int | None]:
    """Give a command the options that all have, and a session in their place."""

    @click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
    @click.option("--profile", metavar="NAME", help="The server's profile: aws, minio, seaweedfs, generic.")
    @click.option("--endpoint-url", metavar="URL", help="The server, where it is not AWS.")
    @log_options
    @trace
    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> int | None:
        given = dict(kwargs)
        session = Session(
            out=Output(as_json=bool(given.pop("as_json"))),
            profile=_text(given.pop("profile")),
            endpoint_url=_text(given.pop("endpoint_url")),
        )
        # a command without the option shows all: nobody could ask for the rest
        shows_all = bool(click.get_current_context().meta.get(SHOWS_ALL, True))
        with command_span(), session.out.open_page(shows_all=shows_all):
            return command(session, *args, **given)  # type: ignore[arg-type] # click hands the rest on by name

    return run


def _text(value: object) -> str | None:
    return None if value is None else str(value)


class _Key(click.ParamType[str]):
    name = "KEY"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from tierlake.pipelines.errors import SpecError
        from tierlake.pipelines.model.selection import KeyText

        try:
            return KeyText.parse(value).text
        except SpecError as error:
            self.fail(f"{error.message}; {error.hint}", param, ctx)


class _Date(click.ParamType[str]):
    """Checked here, but handed on as text: only the dataset knows the timezone in which a day begins."""

    name = "DATE"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            datetime.fromisoformat(value)
        except ValueError:
            message = f"{value!r} is neither a date (2014-01-01) nor an instant (2014-01-01T06:00:00+00:00)"
            self.fail(message, param, ctx)
        return value


class _Size(click.ParamType[int]):
    """Bytes, as `10MB` or a plain number."""

    name = "SIZE"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        from pydantic import ByteSize, TypeAdapter, ValidationError

        try:
            return TypeAdapter(ByteSize).validate_python(value)
        except ValidationError:
            self.fail(f"{value!r} is not a size: write 10MB or a number of bytes", param, ctx)


DATE = _Date()
KEY = _Key()
SIZE = _Size()

dataset = click.argument("dataset")
as_of = click.option("--as-of", type=DATE, help="Plan as if it were this day or instant. [default: now]")
no_undo = click.option(
    "--no-undo", is_flag=True, help="Give undo up: for plain Parquet in buckets without versions, which need it."
)
yes = click.option("--yes", "-y", is_flag=True, help="Do not ask.")
dask = click.option("--dask", "scheduler", metavar="ADDRESS", help="Let workers of this Dask scheduler do it.")


def partitions(command: Callable[..., int | None]) -> Callable[..., int | None]:
    """KEY..., `--since` and `--until`: the command gets them as one selection, `chosen`, or None, which is all."""

    @click.argument("keys", metavar="[KEY]...", type=KEY, nargs=-1)
    @click.option(
        "--since", type=DATE, help="Only partitions whose window begins then or later; a date is the start of that day."
    )
    @click.option(
        "--until", type=DATE, help="Only partitions whose window has ended by then; a date includes that whole day."
    )
    @functools.wraps(command)
    def run(*args: object, keys: tuple[str, ...], since: str | None, until: str | None, **others: object) -> int | None:
        from tierlake.pipelines.model.selection import Selection

        chosen = Selection(keys, since, until)
        return command(*args, chosen=None if chosen.is_all else chosen, **others)

    return run


def keys(command: Callable[..., int | None]) -> Callable[..., int | None]:
    """KEY... alone, for a command whose `--until` means something else."""

    @click.argument("keys", metavar="[KEY]...", type=KEY, nargs=-1)
    @functools.wraps(command)
    def run(*args: object, keys: tuple[str, ...], **others: object) -> int | None:
        from tierlake.pipelines.model.selection import Selection

        return command(*args, chosen=Selection(keys) if keys else None, **others)

    return run


def named(chosen: Selection | None) -> Selection:
    """The partitions of a command that takes all of them only if they are named.

    Raises:
        click.UsageError: None is named.
    """
    if chosen is None:
        raise click.UsageError("name partitions: a KEY, a range, a pattern", click.get_current_context())
    return chosen


def text(command: Callable[P, int | None]) -> Callable[P, int | None]:
    """Options on how text files are written; what is left out, the spec says or the file tells."""
    for option in (
        click.option("--null", "nulls", metavar="WORD", multiple=True, help="Unquoted, it stands for null."),
        click.option("--encoding", metavar="NAME", help="Of text: latin-1, cp1252, utf-16. [default: utf-8]"),
        click.option("--decimal", type=Choice([".", ","]), help="The decimal mark of text's numbers."),
        click.option("--quote", type=Choice(['"', "'"]), help="Around fields of CSV that hold a delimiter."),
        click.option("--delimiter", metavar="CHAR", help="Between fields of CSV; '\\t' is a tab."),
    ):
        command = option(command)
    return command


def text_options(base: TextOptions, **given: object) -> TextOptions:
    """The text options of a command over those of a spec.

    Raises:
        click.UsageError: One that is none.
    """
    from pydantic import ValidationError

    from tierlake.pipelines.model.text_options import TextOptions

    chosen = {name: value for name, value in given.items() if value}
    if chosen.get("delimiter") == "\\t":
        chosen["delimiter"] = "\t"
    try:
        return TextOptions.model_validate({**base.model_dump(), **chosen})
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        message = f"--{fault['loc'][0]}: {str(fault['msg']).removeprefix('Value error, ')}"
        raise click.UsageError(message, click.get_current_context()) from None


def _show_all(context: click.Context, _parameter: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's
    context.meta[SHOWS_ALL] = value


all_rows = click.option(
    SHOWS_ALL,
    is_flag=True,
    expose_value=False,
    callback=_show_all,
    help="Show all rows on a terminal too; a pipe gets all.",
)
dry_run = click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
