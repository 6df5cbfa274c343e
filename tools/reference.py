"""The reference of the site, made from what it describes: models, commands, errors. Pure functions that give Markdown.

`docs/reference/*.md` has the prose around it and a line `<!-- reference: NAME -->`, which tools/site.py replaces when
the site is built. What a field, an option or an error means stands in its own docstring or help text.
"""

from __future__ import annotations

import builtins
import dataclasses
import inspect
import re
import types
from collections import Counter
from datetime import timedelta
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

import click
from griffe import Docstring, Parser
from pydantic import BaseModel, ByteSize, SecretStr
from pydantic_core import PydanticUndefined

from tierlake.connector.ages import format_age
from tierlake.connector.bucket.spec import BucketSpec
from tierlake.connector.errors import LakeError
from tierlake.connector.settings import LakeSettings
from tierlake.pipelines.cli.app import cli
from tierlake.pipelines.model.spec import DatasetSpec
from tools.remedies import REMEDIES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["PAGES", "commands", "component_fields", "described_fields", "error_classes", "models_of", "options_of"]

ROOT = Path(__file__).parent.parent
PACKAGES = ("connector", "pipelines", "dagster_project")
DAGSTERS = {
    "description": "What the asset is, for people; Dagster shows it beside the asset.",
    "group_name": "The group in which Dagster shows the asset.",
    "owners": "E-mail addresses, or teams as `team:NAME`, to whom the asset belongs.",
    "tags": "Tags of the asset, key to value.",
}
"""Attributes of the component that are Dagster's own, where the component does not say more."""

Command = tuple[tuple[str, ...], click.Command]


# --- fields -----------------------------------------------------------------------------------------------------------


def documented(model: type) -> dict[str, str]:
    """Field to meaning, as the class's docstring has it."""
    sections = Docstring(inspect.getdoc(model) or "").parse(Parser.google, warnings=False)
    return {
        one.name: " ".join(one.description.split())
        for section in sections
        if section.kind.value in {"attributes", "parameters"}
        for one in section.value
    }


def described_fields(model: type) -> Iterator[tuple[str, Any, Any, str]]:
    """Name, type, default and meaning of each field of a pydantic model or a dataclass."""
    docs = documented(model)
    if dataclasses.is_dataclass(model):
        hints = inspect.get_annotations(model, eval_str=True)
        for field in dataclasses.fields(model):
            default = PydanticUndefined if field.default is dataclasses.MISSING else field.default
            yield field.name, hints[field.name], default, docs.get(field.name, "")
        return
    for name, info in model.model_fields.items():  # type: ignore[attr-defined] # a pydantic model
        default = info.default if info.default_factory is None else info.default_factory()
        yield name, info.annotation, default, info.description or docs.get(name, "")


def type_text(annotation: Any) -> str:
    """A type in the words of somebody who writes YAML."""
    plain = {
        str: "text",
        bool: "true or false",
        int: "whole number",
        float: "number",
        timedelta: "duration",
        ByteSize: "size",
        SecretStr: "text",
        Any: "",
    }
    if annotation in plain:
        return plain[annotation]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{yaml_text(value)}`" for value in arguments)
    if origin in {Union, types.UnionType}:
        return " or ".join(filter(None, (type_text(one) for one in arguments if one is not type(None))))
    if origin in {tuple, list}:
        return f"list of {type_text(arguments[0]) or 'values'}".replace("list of text", "list of texts")
    if origin is dict:
        return f"mapping of text to {type_text(arguments[1])}"
    if hasattr(annotation, "__metadata__"):
        return type_text(arguments[0])
    return f"[`{annotation.__name__}`](#{annotation.__name__.lower()})"


def yaml_text(value: Any) -> str:
    """A value as YAML has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, timedelta):
        return format_age(value)
    if isinstance(value, ByteSize):
        return value.human_readable(decimal=True).replace(".0", "")
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(yaml_text, value))}]"
    return str(value)


def default_text(default: Any) -> str:
    """A default, or that there is none."""
    if default is PydanticUndefined:
        return "**required**"
    if default is None or isinstance(default, BaseModel):
        return ""
    if not isinstance(default, str | int | float | bool | timedelta | tuple | list | dict):
        return f"`{getattr(default, 'mode', default)}`"
    return f"`{yaml_text(default)}`"


def cell(text: str) -> str:
    """Text in a table."""
    return " ".join(text.split()).replace("|", "\\|")


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(map(cell, line))} |" for line in lines)


def models_of(model: type) -> list[type]:
    """A model and those that its fields are made of, outermost first."""
    found = [model]
    for one in found:
        for _, annotation, _, _ in described_fields(one):
            found += [part for part in parts_of(annotation) if part not in found]
    return found


def parts_of(annotation: Any) -> Iterator[type]:
    """The models in a type."""
    if isinstance(annotation, type) and (issubclass(annotation, BaseModel) or dataclasses.is_dataclass(annotation)):
        yield annotation
    for argument in get_args(annotation):
        yield from parts_of(argument)


def first_sentences(model: type) -> str:
    """What a class is, from its docstring, without its sections."""
    return re.split(r"\n\s*\n(?=(?:Attributes|Args|Raises):)", inspect.getdoc(model) or "")[0]


def field_tables(model: type) -> str:
    """A section for a model and for each model in it."""
    return "\n\n".join(
        f"## {one.__name__}\n\n{first_sentences(one)}\n\n"
        + table(
            ("field", "type", "default", "meaning"),
            [
                (f"`{name}`", type_text(annotation), default_text(default), meaning)
                for name, annotation, default, meaning in described_fields(one)
            ],
        )
        for one in models_of(model)
    )


def dataset_reference() -> str:
    """Each field of a dataset's description."""
    return field_tables(DatasetSpec)


def bucket_reference() -> str:
    """Each field of a bucket's description."""
    return field_tables(BucketSpec)


def settings_reference() -> str:
    """Each setting, with its variable."""
    rows = [
        (f"`{name}`", f"`TIERLAKE_{name.upper()}`", type_text(annotation) or "text", default_text(default), meaning)
        for name, annotation, default, meaning in described_fields(LakeSettings)
    ]
    return table(("setting", "variable", "type", "default", "meaning"), rows)


def component_fields() -> Iterator[tuple[str, str, str, str]]:
    """Name, type, default and meaning of each attribute of `LakeDataset`."""
    from tierlake.dagster_project.component import LakeDataset

    spec = {name: (type_text(annotation), meaning) for name, annotation, _, meaning in described_fields(DatasetSpec)}
    for name, annotation, default, meaning in described_fields(LakeDataset):
        spec_type, spec_meaning = spec.get(name, ("", ""))
        kind = re.sub(r"\(#(\w+)\)", r"(dataset.md#\1)", type_text(annotation) or spec_type)
        resolved = [getattr(one, "description", None) for one in LakeDataset.model_fields[name].metadata]
        meanings = (meaning, *resolved, spec_meaning, DAGSTERS.get(name))
        yield name, kind, default_text(default), next(filter(None, meanings), "")


def component_reference() -> str:
    """Each attribute of `LakeDataset`."""
    rows = [(f"`{name}`", *rest) for name, *rest in component_fields()]
    return table(("attribute", "type", "default", "meaning"), rows)


# --- commands ---------------------------------------------------------------------------------------------------------


def commands(command: click.Command = cli, path: tuple[str, ...] = ("tierlake",)) -> Iterator[Command]:
    """Each command and subcommand, in the order of `--help`."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            if (inner := command.get_command(context, name)) is not None and not inner.hidden:
                yield from commands(inner, (*path, name))


def paragraphs(text: str) -> str:
    r"""Help text as Markdown: what click leaves as it is (`\b`) is a block."""
    blocks = inspect.cleandoc(text.partition("\f")[0]).split("\n\n")
    return "\n\n".join(
        f"```text\n{block.removeprefix(chr(8)).strip(chr(10))}\n```" if block.startswith("\b") else block
        for block in blocks
    )


def options_of(command: click.Command) -> list[tuple[str, str]]:
    """How each option of a command is written, and what it does."""
    context = click.Context(command)
    records = [
        option.get_help_record(context)
        for option in command.get_params(context)
        if isinstance(option, click.Option) and not option.hidden
    ]
    return [record for record in records if record is not None]


@cache
def common_options() -> tuple[tuple[str, str], ...]:
    """The options that nearly all commands have."""
    leaves = [command for _, command in commands() if not isinstance(command, click.Group)]
    counted = Counter(option for command in leaves for option in options_of(command))
    return tuple(option for option, count in counted.items() if count > len(leaves) * 0.8)


def option_table(options: Iterable[tuple[str, str]]) -> str:
    """Options as a table; nothing for none."""
    rows: list[tuple[str, ...]] = [(f"`{written}`", meaning) for written, meaning in options]
    return table(("option", "meaning"), rows) if rows else ""


def command_text(path: tuple[str, ...], command: click.Command) -> str:
    """A section for one command."""
    context = click.Context(command, info_name=" ".join(path))
    epilog = inspect.cleandoc(command.epilog or "").replace("\b", "").strip()
    parts = [
        f"## {' '.join(path)}" if len(path) < 3 else f"### {' '.join(path)}",  # noqa: PLR2004 - a subcommand's
        f"```text\n{command.get_usage(context).removeprefix('Usage: ')}\n```",
        paragraphs(command.help or ""),
        option_table(option for option in options_of(command) if option not in common_options()),
        epilog and f"```text\n{epilog}\n```",
    ]
    return "\n\n".join(part for part in parts if part)


def command_reference() -> str:
    """What nearly all commands take, and a section for each command."""
    shared = f"## Options of every command\n\n{option_table(common_options())}"
    return "\n\n".join([shared, *(command_text(path, command) for path, command in commands())])


# --- errors -----------------------------------------------------------------------------------------------------------


def error_classes() -> list[type[LakeError]]:
    """All errors that have a code of their own, wherever they are defined."""
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            if re.search(r'^    code = "', file.read_text(), re.MULTILINE):
                import_module(".".join(("tierlake", *file.relative_to(ROOT).with_suffix("").parts)))
    found: list[type[LakeError]] = [LakeError]
    for one in found:
        found += [inner for inner in one.__subclasses__() if inner not in found and inner.__module__ != "__main__"]
    return sorted((one for one in found if "code" in vars(one)), key=lambda one: one.code)


def also(error: type[LakeError]) -> str:
    """Python's own classes that an error is one of."""
    ours = {LakeError, Exception, BaseException, object}
    own = [base.__name__ for base in error.__mro__ if base not in ours and hasattr(builtins, base.__name__)]
    return ", ".join(f"`{name}`" for name in own[:1])


def error_reference() -> str:
    """Each code, what it means, and what to do."""
    return table(
        ("code", "class", "is also a", "meaning", "what to do"),
        [
            (f"`{one.code}`", f"`{one.__name__}`", also(one), first_sentences(one), REMEDIES.get(one.code, ""))
            for one in error_classes()
        ],
    )


PAGES: dict[str, Callable[[], str]] = {
    "dataset": dataset_reference,
    "bucket": bucket_reference,
    "component": component_reference,
    "settings": settings_reference,
    "commands": command_reference,
    "errors": error_reference,
}
"""What `<!-- reference: NAME -->` stands for."""
