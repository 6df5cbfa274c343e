"""`--log` and `--log-level`: lines on stderr, the document alone on stdout, the error's own line at the end."""

from __future__ import annotations

import json

import pytest

from tierlake.pipelines.cli.app import COMMANDS

one_server = pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)


@pytest.fixture
def place(server):
    """The variables of the server."""
    options = server.storage_options
    return {
        "TIERLAKE_ENDPOINT_URL": options["endpoint_url"],
        "AWS_ACCESS_KEY_ID": options["key"],
        "AWS_SECRET_ACCESS_KEY": options["secret"],
    }


def lines(said):
    return [json.loads(line) for line in said.err.splitlines() if line.startswith("{")]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_takes_the_options(tierlake_here, command):
    said = tierlake_here(command, *{"bucket": ["plan"], "uploads": ["abort"]}.get(command, []), "--help")
    assert "--log " in said.out
    assert "--log-level" in said.out


@one_server
def test_the_error_of_a_command_has_one_line_and_the_last_word(tierlake, bucket, place):
    said = tierlake("--log", "json", "ls", f"lake://{bucket}/none", "--json", env=place)
    assert said.code == 1
    assert said.document["error"]["code"] == "table_not_found"
    assert len(said.out.splitlines()) == 1
    logged = lines(said)
    (line,) = [one for one in logged if one.get("code") == "table_not_found"]
    assert (line["level"], line["operation"], line["dataset"]) == ("info", "dataset.open", f"lake://{bucket}/none")
    assert said.err.splitlines()[len(logged)].startswith("error: ")
    assert [one for one in logged if one["message"] == "Request succeeded"]


@pytest.mark.parametrize("where", ["before", "after"])
def test_the_options_stand_before_the_command_or_after_its_name(tierlake, where, tmp_path):
    spec = tmp_path / "spec.yaml"
    spec.write_text("uri: nowhere")
    options = ["--log", "text", "--log-level", "error"]
    before, after = (options, []) if where == "before" else ([], options)
    said = tierlake(*before, "create", *after, spec)
    (line,) = [one for one in said.err.splitlines() if " code=" in one]
    assert " code=spec_error " in f"{line} "
    assert "operation=DatasetSpec.from_yaml" in line
    assert said.code == 1


def test_an_option_has_precedence_over_the_environment(tierlake, tmp_path):
    spec = tmp_path / "spec.yaml"
    spec.write_text("uri: nowhere")
    said = tierlake("create", "--log", "off", spec, env={"TIERLAKE_LOG": "json"})
    assert said.err.startswith("error: ")
    said = tierlake("create", spec, env={"TIERLAKE_LOG": "json"})
    assert [one["code"] for one in lines(said) if "code" in one] == ["spec_error"]


def test_a_form_that_does_not_exist_is_a_usage_error(tierlake_here):
    assert tierlake_here("--log", "xml", "ls", "lake://b/t").code == 2
