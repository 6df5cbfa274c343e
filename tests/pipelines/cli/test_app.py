import tomllib

import pytest

from tests import ROOT
from tierlake.pipelines.cli.app import COMMANDS


def test_help_lists_every_command_with_a_sentence(tierlake):
    said = tierlake("--help")
    assert said.code == 0
    listed = {line.split()[0]: line.split(maxsplit=1)[1:] for line in said.out.splitlines() if line.startswith("  ")}
    assert set(COMMANDS) <= set(listed)
    assert all(listed[name] for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_and_has_json(tierlake_here, command):
    said = tierlake_here(command, "--help")
    assert said.code == 0
    assert "--json" in said.out


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - {"server"}))
def test_every_command_that_talks_to_a_store_takes_profile_and_endpoint(tierlake_here, command):
    said = tierlake_here(command, "--help")
    assert "--profile" in said.out
    assert "--endpoint-url" in said.out


CHANGING = [
    "create",
    "ingest",
    "undo",
    "hold",
    "release",
    "retain",
    "apply",
    "tier",
    "expire",
    "vacuum",
    "drop",
    "undrop",
]


@pytest.mark.parametrize("command", CHANGING)
def test_what_changes_something_can_be_rehearsed(tierlake_here, command):
    assert "--dry-run" in tierlake_here(command, "--help").out


def test_the_version_is_the_distributions(tierlake):
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert tierlake("--version").out == f"tierlake, version {version}\n"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["lss"], "lss"),
        (["ls"], "DATASET"),
        (["ls", "lake://b/t", "--jsn"], "--jsn"),
        (["plan", "tiering", "lake://b/t", "--as-of", "yesterday"], "yesterday"),
        (["hold", "lake://b/t", "2013-07-04", "--reason", "audit"], "2013-07-04"),
        (["ls", "flights"], "flights"),
        (["apply", "missing.json"], "missing.json"),
    ],
)
def test_wrong_usage_exits_2_and_names_what_is_wrong(tierlake, arguments, named):
    said = tierlake(*arguments)
    assert said.code == 2
    assert said.out == ""
    first = said.err.splitlines()[0]
    assert first.startswith("error: ")
    assert named in first
    assert "--help" in said.err


def test_wrong_usage_is_one_document_where_json_was_asked_for(tierlake):
    said = tierlake("ls", "--json")
    assert said.code == 2
    assert said.document["error"]["code"] == "usage"


def test_an_endpoint_that_is_down_is_one_line_with_its_name(tierlake):
    env = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "hush-hush"}
    said = tierlake("ls", "lake://nowhere/flights", "--json", "--endpoint-url", "http://127.0.0.1:1", env=env)
    assert said.code == 1
    assert said.err.startswith("error: ")
    assert "http://127.0.0.1:1" in said.err
    assert "Traceback" not in said.err
    assert "hush-hush" not in said.err + said.out
    assert said.document["error"]["code"] == "endpoint_unreachable"


def test_a_bug_shows_its_traceback_only_on_demand(tierlake, tmp_path):
    # a plan that is no plan: whatever pipelines makes of it, the traceback is for TIERLAKE_DEBUG alone
    (tmp_path / "plan.json").write_text("[]")
    quiet = tierlake("apply", "plan.json")
    loud = tierlake("apply", "plan.json", env={"TIERLAKE_DEBUG": "1"})
    assert quiet.code == loud.code == 1
    assert "Traceback" not in quiet.err
    assert "Traceback" in loud.err


def test_no_url_with_a_password_is_repeated(tierlake_here):
    for arguments in (
        ("ls", "lake://b/t", "--endpoint-url", "http://me:hush@127.0.0.1:9"),
        ("ls", "lake://b/t", "--endpoint-url", "https://host/?token=hush"),
        ("ls", "lake://me:hush@b/t"),
        ("ls", "me:hush@b/t"),
        ("ingest", "lake://b/t?sig=hush", "x.csv"),
    ):
        answer = tierlake_here(*arguments)
        assert answer.code != 0
        assert "hush" not in answer.out + answer.err
