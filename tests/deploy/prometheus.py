"""Prometheus and its tool, from the system's packages; and the expressions in what we ship for them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import ROOT
from tierlake.connector.observe.instruments import INSTRUMENTS, Instrument

DEPLOY = ROOT / "deploy"
RULES = DEPLOY / "prometheus" / "rules.yml"
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "tierlake.json"
OPERATIONS = ROOT / "docs" / "operations.md"

OF_PROMETHEUS = {"ALERTS", "up"}
"""What Prometheus itself has."""
_OURS = re.compile(r"\btierlake[_:][a-zA-Z0-9_:]+")
_SELECTED = re.compile(r"\b([a-zA-Z_:][a-zA-Z0-9_:]*)\s*[{\[]")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_DURATION = re.compile(r"\b(\d+)([smhd])\b")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def program(name: str) -> str:
    """The path of `prometheus` or `promtool`; without them the test is skipped by name."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"no {name}: apt-get install --no-install-recommends prometheus")
    return path


def promtool(*arguments: str | Path) -> str:
    """What promtool says; it must succeed."""
    done = subprocess.run(
        [program("promtool"), *map(str, arguments)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@dataclass(frozen=True)
class Rule:
    """A rule of rules.yml.

    Attributes:
        record: The series that it records; None for an alert.
        alert: The alert's name.
        expression: In PromQL.
        labels: Of the alert.
        annotations: Likewise.
    """

    record: str | None
    alert: str | None
    expression: str
    labels: dict[str, str]
    annotations: dict[str, str]


def rules() -> list[Rule]:
    """The rules that we ship, in their order."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [
        Rule(one.get("record"), one.get("alert"), one["expr"], one.get("labels", {}), one.get("annotations", {}))
        for group in groups
        for one in group["rules"]
    ]


def alerts() -> dict[str, Rule]:
    """Those that are alerts, by their names."""
    return {one.alert: one for one in rules() if one.alert is not None}


def dashboard() -> dict[str, Any]:
    """Grafana's dashboard."""
    value: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return value


def dashboard_expressions() -> dict[str, str]:
    """The dashboard's queries by panel and letter, with values in the place of Grafana's variables."""
    return {
        f"{panel['title']} {target['refId']}": _without_variables(target["expr"])
        for panel in dashboard()["panels"]
        for target in panel.get("targets", ())
    }


def _without_variables(expression: str) -> str:
    plain = expression.replace("$__rate_interval", "5m")
    for variable in dashboard()["templating"]["list"]:
        plain = plain.replace(f"${variable['name']}", ".*")
    assert "$" not in plain, plain
    return plain


def metrics_in(expression: str) -> set[str]:
    """The names of the metrics of an expression: ours, and whatever else is selected from."""
    without_strings = _STRING.sub('""', expression)
    return {*_OURS.findall(without_strings), *_SELECTED.findall(without_strings)}


def shown_names(instrument: Instrument) -> set[str]:
    """The names of an instrument's series as Prometheus shows them."""
    if instrument.kind == "histogram":
        return {f"{instrument.name}_{part}" for part in ("bucket", "sum", "count")}
    return {instrument.scraped_name}


def exported() -> set[str]:
    """The names of all series that the code exports."""
    return set().union(*map(shown_names, INSTRUMENTS))


def shortened(text: str, times: int) -> str:
    """Rules with all durations so many times as short, so that hours of them pass in a test.

    Every number with a unit is divided, in ranges, offsets, `for` and texts alike (`5m` by 30 is `10s`); names such as
    `increase5m`, thresholds and arithmetic stay as they are. The result is another clock for the same rules.
    """

    def divided(match: re.Match[str]) -> str:
        return f"{max(1, int(match[1]) * _SECONDS[match[2]] // times)}s"

    return _DURATION.sub(divided, text)
