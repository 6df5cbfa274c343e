"""No secret in what Dagster stores, logs or shows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.dagster_project import status
from tierlake.dagster_project.demo import headless

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)

SOMEBODYS_PROJECT = """
import dagster as dg
from tierlake.dagster_project.demo.datasets import WEATHER
from tierlake.dagster_project.io_manager import LakeParquetIOManager
from tierlake.dagster_project.resources.lake import LakeResource

lake = LakeResource(key=dg.EnvVar("LAKE_KEY"), secret=dg.EnvVar("LAKE_SECRET"))
resources = {"lake": lake, "io_manager": LakeParquetIOManager(lake=lake)}
defs = dg.Definitions.merge(WEATHER.definitions(), dg.Definitions(resources=resources))
"""

RESOURCES = """
query($repository: RepositorySelector!) {
  allTopLevelResourceDetailsOrError(repositorySelector: $repository) {
    ... on ResourceDetailsList {
      results {
        name
        configuredValues { key value type }
        configFields { name description defaultValueAsJson }
        nestedResources { name resource { configuredValues { key value type } } }
      }
    }
  }
}
"""


LAUNCH = """
mutation($run: ExecutionParams!) {
  launchPipelineExecution(executionParams: $run) {
    __typename
    ... on RunConfigValidationInvalid { errors { message } }
    ... on PythonError { message stack }
  }
}
"""


LAUNCHPAD = """
query($selector: PipelineSelector!) {
  runConfigSchemaOrError(selector: $selector, mode: "default") { ... on RunConfigSchema { rootDefaultYaml } }
}
"""
VALID = """
query($selector: PipelineSelector!, $config: RunConfigData) {
  isPipelineConfigValid(pipeline: $selector, mode: "default", runConfigData: $config) { __typename }
}
"""


def stored(home: Path) -> bytes:
    """Everything in a Dagster home: runs, events, logs, schedules."""
    files = [path for path in home.rglob("*") if path.is_file()]
    assert any(path.name == "index.db" for path in files)
    return b"".join(path.read_bytes() for path in files)


@pytest.mark.slow
def test_in_no_file_that_runs_leave_behind(instance, lake, dagster_home, server, monkeypatch, capfd) -> None:
    headless.materialize(instance, "weather", "2013-01", log_level="DEBUG")
    headless.tier(instance, "weather", log_level="DEBUG")
    headless.tick_retention(instance, "weather", log_level="DEBUG")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-and-still-secret")
    with pytest.raises(headless.RunFailed) as failure:
        headless.materialize(instance, "weather", "2013-02", log_level="DEBUG")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.delenv("TIERLAKE_ENDPOINT_URL")
    with pytest.raises(headless.RunFailed, match=r"127\.0\.0\.1:1"):
        headless.materialize(instance, "weather", "2013-02", log_level="DEBUG")

    said = "".join(capfd.readouterr()) + str(failure.value)
    assert "RUN_FAILURE" in said
    for secret in (server.secret, "wrong-and-still-secret"):
        assert secret not in said
        assert secret.encode() not in stored(dagster_home)


@pytest.mark.slow
def test_the_ui_names_the_variables_and_takes_no_typed_secret(
    instance, lake, server, tmp_path, monkeypatch, dagster_home, capfd
) -> None:
    project = tmp_path / "somebodys_project.py"
    project.write_text(SOMEBODYS_PROJECT)
    monkeypatch.setenv("LAKE_KEY", server.key)
    monkeypatch.setenv("LAKE_SECRET", server.secret)
    repository = {"repositoryLocationName": "tests", "repositoryName": "__repository__"}
    typed = [
        {"lake": {"config": {"secret": "typed-and-secret"}}},
        {"lake": {"config": {"key": "typed-and-secret"}}},
        {"lake": {"config": {"endpoint_url": "http://user:typed-and-secret@127.0.0.1:9"}}},
        {"lake": {"config": {"endpoint_url": "https://host/?X-Amz-Signature=typed-and-secret"}}},
        {"lake": {"config": {"warehouse": "lake://user:typed-and-secret@bucket/wh"}}},
        {"io_manager": {"config": {"lake": {"key": "typed-and-secret"}}}},
        {"io_manager": {"config": {"lake": {"endpoint_url": "http://user:typed-and-secret@127.0.0.1:9"}}}},
    ]
    run = {"selector": {**repository, "pipelineName": "weather_tiering"}, "mode": "default"}
    with status.workspace(instance, project, "defs") as context:
        answer = status.ask(context, RESOURCES, repository=repository)
        runs = [{**run, "runConfigData": {"resources": config}} for config in typed]
        launched = [status.ask(context, LAUNCH, run=run)["launchPipelineExecution"] for run in runs]
        opened = status.ask(context, LAUNCHPAD, selector=run["selector"])["runConfigSchemaOrError"]["rootDefaultYaml"]
        checked = status.ask(context, VALID, selector=run["selector"], config=opened)["isPipelineConfigValid"]
    (details,) = [found for found in answer["allTopLevelResourceDetailsOrError"]["results"] if found["name"] == "lake"]
    values = {value["key"]: (value["type"], value["value"]) for value in details["configuredValues"]}
    assert values["secret"] == ("ENV_VAR", "LAKE_SECRET")
    assert values["key"] == ("ENV_VAR", "LAKE_KEY")
    for secret in (server.secret, server.key):
        assert json.dumps(secret) not in json.dumps(answer)
        assert secret not in opened
    assert "env: LAKE_SECRET" in opened
    assert checked["__typename"] == "PipelineConfigValidationValid"  # what the launchpad opens with can be launched
    refused = {"RunConfigValidationInvalid", "PythonError"}
    assert [one["__typename"] for one in launched if one["__typename"] not in refused] == []
    assert "endpoint_url must not hold a user name or password" in launched[2]["message"]
    assert "typed-and-secret" not in json.dumps(launched) + "".join(capfd.readouterr())
    assert instance.get_runs_count() == 0
    assert b"typed-and-secret" not in stored(dagster_home)
