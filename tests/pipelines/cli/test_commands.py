"""The table behind `tierlake --help`: its lines are the docstrings', its examples parse, and it imports no command."""

import contextlib
import io
import os
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from tests import ROOT
from tierlake.pipelines.cli import app, options
from tierlake.pipelines.cli.choices import Choice
from tierlake.pipelines.cli.commands import COMMANDS, EXAMPLES, FAMILIES, PLUGIN_LINES
from tierlake.pipelines.cli.options import with_session
from tierlake.pipelines.runtime.page import SHOWS_ALL, listed

_WIDTH = 80
_LINES = {name: line for family in FAMILIES for name, module, line in family.commands if module}
HEAVY = {
    *("pyarrow", "deltalake", "pydantic", "pydantic_settings", "s3fs", "fsspec", "aiobotocore", "botocore", "numpy"),
    *("pandas", "yaml", "dagster", "dask", "rich", "obstore", "asyncio"),
}


def _command(words):
    """The command that the first words name, and the context to parse the others in."""
    context = click.Context(app.cli, info_name="tierlake")
    command = app.cli
    while isinstance(command, click.Group):
        name, command, words = command.resolve_command(context, words)
        context = click.Context(command, info_name=name, parent=context)
    return command, words


def _all_commands():
    for name in COMMANDS:
        command = app.cli.get_command(click.Context(app.cli), name)
        yield name, command
        for below in getattr(command, "commands", {}).values():
            yield f"{name} {below.name}", below


@pytest.mark.parametrize("name", COMMANDS)
def test_the_line_of_a_command_is_the_first_sentence_of_its_docstring(name):
    command = app.cli.get_command(click.Context(app.cli), name)
    assert command.get_short_help_str(limit=200).rstrip(".") == _LINES[name]


def test_the_lines_of_our_own_plugins_are_their_docstrings_too():
    for name, line in PLUGIN_LINES.items():
        assert app.cli.get_command(click.Context(app.cli), name).get_short_help_str(limit=200).rstrip(".") == line


def test_every_command_is_in_one_family_and_has_examples():
    names = [name for family in FAMILIES for name, _, _ in family.commands]
    assert len(names) == len(set(names))
    assert {name for name, _ in _all_commands()} == set(EXAMPLES)


@pytest.mark.parametrize(
    "line", [*(line for lines in EXAMPLES.values() for line in lines), *(family.example for family in FAMILIES)]
)
def test_every_example_parses(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("flights.yaml", "policy.yaml", "plan.json"):
        Path(name).touch()
    program, *words = shlex.split(line)
    assert program == "tierlake"
    command, words = _command(words)
    context = command.make_context("tierlake", list(words))  # raises what the user would see
    assert not context.args


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_of_its_own_command(name):
    assert all(f"{line} ".startswith(f"tierlake {name} ") for line in EXAMPLES[name])


@pytest.mark.parametrize("line", [*EXAMPLES["iam-policy"]])
def test_examples_that_ask_no_server_run(tierlake_here, line):
    assert tierlake_here(*shlex.split(line)[1:]).code == 0


def test_an_example_of_init_and_create_makes_what_it_says(tierlake_here, tmp_path):
    (tmp_path / "flights.csv").write_text("time_hour,carrier\n2013-07-04T01:00:00Z,UA\n")
    for line in EXAMPLES["init"]:
        assert tierlake_here(*shlex.split(line)[1:]).code == 0
    assert "uri: lake://warehouse/flights" in (tmp_path / "flights.yaml").read_text()


def test_help_has_the_families_with_a_line_and_an_example_each(tierlake_here):
    said = tierlake_here("--help")
    blocks = said.out.split("\n\n")
    for family in FAMILIES:
        (block,) = [block for block in blocks if block.startswith(f"{family.title}:\n")]
        lines = block.rstrip().splitlines()
        assert len(lines) == len(family.commands) + 2
        assert lines[-1] == f"  $ {family.example}"
    assert all(len(line) <= _WIDTH for line in said.out.splitlines())


def test_the_help_of_each_command_ends_with_its_examples():
    for name, command in _all_commands():
        context = click.Context(command, info_name=name, terminal_width=40)
        shown = command.get_help(context).split("Examples:\n")[1].splitlines()
        assert shown == [f"    {line}" for line in EXAMPLES[name]]


def _modules_after(*arguments, env=None):
    code = (
        "import sys, contextlib, io\n"
        "from tierlake.pipelines.cli import main\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()): main(sys.argv[1:])\n"
        "print('\\n'.join(sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **(env or {})},
    )
    assert done.stderr == ""
    return set(done.stdout.split())


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_help_and_version_import_no_command_and_nothing_heavy(arguments):
    modules = _modules_after(*arguments)
    assert not HEAVY & modules
    commands = {f"tierlake.pipelines.cli.{module}" for module in COMMANDS.values()}
    assert not commands & modules


def test_a_verb_an_option_and_a_choice_that_are_mistyped_are_answered_with_the_nearest(tierlake_here):
    for arguments, near in (
        (["ingst", "lake://b/t"], "ingest"),
        (["bucket", "aply", "b"], "apply"),
        (["ls", "lake://b/t", "--jsn"], "--json"),
        (["plan", "teiring", "lake://b/t"], "tiering"),
        (["--log", "jsn", "ls", "lake://b/t"], "json"),
        (["restore", "lake://b/t", "date=2013-01-01", "--speed", "Bulck"], "bulk"),
    ):
        said = tierlake_here(*arguments)
        assert said.code == 2
        first = said.err.splitlines()[0]
        assert "Did you mean" in first
        assert repr(near) in first
    assert "Did you mean" not in tierlake_here("frobnicate").err


def test_every_choice_of_every_command_suggests():
    for _, command in _all_commands():
        kinds = [parameter.type for parameter in command.params]
        assert all(isinstance(kind, Choice) for kind in kinds if isinstance(kind, click.Choice))


FAR = {"pandas", "polars", "dask", "dagster", "matplotlib", "pyarrow.dataset"}
"""What no look at a table needs. pyarrow itself imports pandas for a dataset, and for a scalar made of Python's."""


def test_ls_imports_neither_pandas_nor_what_reads_rows(tierlake, bucket, server, tmp_path):
    environ = server.environ()
    (tmp_path / "rows.csv").write_text("at,amount\n2013-07-04T01:00:00Z,1\n2013-07-05T01:00:00Z,2\n")
    uri = f"lake://{bucket}/events"
    spec = f"uri: {uri}\npartition:\n  time: {{column: at, every: day, key: date}}\n"
    (tmp_path / "spec.yaml").write_text(spec)
    assert tierlake("create", "spec.yaml", env=environ).code == 0
    assert tierlake("ingest", uri, "rows.csv", env=environ).code == 0
    modules = _modules_after("ls", uri, env=environ)
    assert "deltalake" in modules
    assert not FAR & modules


@pytest.mark.parametrize("has_option", [True, False])
def test_a_long_list_is_cut_on_a_terminal_where_there_is_a_way_to_see_all(monkeypatch, has_option):
    def command(session):
        session.out.emit([], "\n".join(listed([str(number) for number in range(100)], 5)))

    made = click.command()((options.all_rows if has_option else lambda one: one)(with_session(command)))
    out = io.StringIO()
    out.isatty = lambda: True
    monkeypatch.setenv("LINES", "20")
    with contextlib.redirect_stdout(out):
        made.main([], standalone_mode=False)
        cut = out.getvalue().splitlines()
        if has_option:
            made.main(["--all"], standalone_mode=False)
    assert len(cut) == (13 if has_option else 100)
    assert ("... and 88 more: --all" in out.getvalue()) is has_option
    assert len(out.getvalue().splitlines()) == (113 if has_option else 100)


@pytest.mark.parametrize(
    "name",
    ["doctor", "bucket plan", "bucket apply", "undo", "restore", "ls", "verify", "survey", "rejects", "uploads abort"],
)
def test_what_may_list_much_has_a_way_to_see_all(name):
    assert any(SHOWS_ALL in parameter.opts for parameter in dict(_all_commands())[name].params)
