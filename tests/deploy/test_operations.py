"""docs/operations.md is true: its metrics, alerts, commands, variables and configurations are those that there are."""

from __future__ import annotations

import re

import pytest
import yaml

from tests import ROOT
from tests.deploy.prometheus import OPERATIONS, alerts, promtool, rules
from tierlake.connector.observe.instruments import INSTRUMENTS
from tierlake.connector.settings import LakeSettings
from tierlake.pipelines.cli.app import COMMANDS

TEXT = OPERATIONS.read_text()
RUNBOOK = TEXT[TEXT.index("## Runbook") :]
BLOCKS = [yaml.safe_load(text) for text in re.findall(r"^```yaml\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)]


def anchors() -> set[str]:
    headings = re.findall(r"^#+ (.+)$", TEXT, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_the_table_of_metrics_is_what_is_exported():
    rows = re.findall(r"^\| `(tierlake_\w+)` \| (\w+) \| ((?:`\w+` ?)+)\| \S.* \|$", TEXT, re.MULTILINE)
    table = [(name, kind, tuple(re.findall(r"\w+", labels))) for name, kind, labels in rows]
    assert table == [(one.scraped_name, one.kind, one.labels) for one in INSTRUMENTS]


def test_each_alert_has_its_heading_in_the_runbook_and_each_heading_its_alert():
    assert re.findall(r"^### (\w+)$", RUNBOOK, re.MULTILINE) == list(alerts())


def test_where_an_alert_points_to_is_there():
    for one in alerts().values():
        file, _, anchor = one.annotations["runbook"].partition("#")
        assert ROOT / file == OPERATIONS
        assert anchor in anchors()


def test_each_heading_of_the_runbook_says_how_to_look_and_what_to_do():
    sections = re.split(r"^### \w+$", RUNBOOK, flags=re.MULTILINE)[1:]
    assert len(sections) == len(alerts())
    for section in sections:
        assert re.search(r"^- ", section, re.MULTILINE), section
        assert len(re.findall(r"^- ", section, re.MULTILINE)) >= 3


def test_recorded_series_that_it_names_are_recorded():
    recorded = {one.record for one in rules()}
    named = set(re.findall(r"`(tierlake:[\w:]+)`", TEXT))
    assert named
    assert named <= recorded


def test_commands_that_it_names_exist():
    named = re.findall(r"(?:`|\$ (?:[A-Z_]+=\S+ )*)tierlake (?:--log json )?([a-z][\w-]*)", TEXT)
    assert len(named) > 10
    assert set(named) <= COMMANDS.keys()


def test_codes_that_it_names_are_those_of_errors():
    sources = "".join(file.read_text() for file in ROOT.glob("connector/**/*.py"))
    section = RUNBOOK.split("### ")[1]
    named = {
        code for line in re.findall(r"^- ((?:`\w+`,? ?)+)", section, re.MULTILINE) for code in re.findall(r"\w+", line)
    }
    assert {"throttled", "access_denied"} <= named
    assert [code for code in named if f'code = "{code}"' not in sources] == []


def test_variables_that_it_names_are_settings():
    fields = {f"TIERLAKE_{name.upper()}" for name in LakeSettings.model_fields} | {"TIERLAKE_TODAY"}
    assert set(re.findall(r"TIERLAKE_[A-Z_]+", TEXT)) <= fields


def test_links_lead_somewhere():
    for link in re.findall(r"\]\(([^)]+)\)", TEXT):
        path, _, anchor = link.partition("#")
        assert link.startswith("https:") or (OPERATIONS.parent / path).exists(), link
        assert path or anchor in anchors(), link


@pytest.mark.parametrize("key", ["scrape_configs", "alerting"])
def test_prometheus_takes_what_it_shows(key, tmp_path):
    (block,) = [one for one in BLOCKS if key in one]
    file = tmp_path / "prometheus.yml"
    file.write_text(yaml.safe_dump(block))
    promtool("check", "config", file)
