"""SECURITY.md names modules and tests that exist, and the tables name both for each threat."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests import ROOT

PAGE = (ROOT / "SECURITY.md").read_text()
NAMED = sorted(set(re.findall(r"`((?:connector|pipelines|dagster_project|tests|tools)/[\w/.]+(?:::\w+)?)`", PAGE)))
THREATS = [
    [cell.strip() for cell in line.strip("| ").split(" | ")]
    for part in PAGE.split("\n### ")[1:]
    for line in part.split("\n## ")[0].splitlines()
    if line.startswith("| ") and not line.startswith("| threat")
]


@pytest.mark.parametrize("name", NAMED)
def test_what_it_names_is_there(name):
    path, _, test = name.partition("::")
    assert (ROOT / path).exists()
    if test:
        assert re.search(rf"^(?:async )?def {test}\(", (ROOT / path).read_text(), re.MULTILINE)


def test_each_threat_has_a_mechanism_and_a_test():
    assert len(THREATS) > 20
    for threat, mechanism, proof in THREATS:
        assert re.search(r"`(connector|pipelines|dagster_project|tools)/", mechanism), threat
        assert "`tests/" in proof, threat


def test_the_supported_version_is_this_one():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"| {version.rpartition('.')[0]} (" in PAGE
