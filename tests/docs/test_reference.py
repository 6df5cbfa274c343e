"""The reference has each field, command, option and error, and each has a meaning."""

from __future__ import annotations

import re

import click
import pytest

from tests import ROOT
from tierlake import DatasetSpec, LakeSettings
from tierlake.connector.bucket.spec import BucketSpec
from tools.reference import (
    PAGES,
    command_reference,
    commands,
    common_options,
    component_fields,
    described_fields,
    error_classes,
    error_reference,
    models_of,
    options_of,
    type_text,
)
from tools.remedies import REMEDIES

COMMANDS = list(commands())
MODELS = {"dataset": DatasetSpec, "bucket": BucketSpec}


@pytest.mark.parametrize("name", MODELS)
def test_each_field_of_a_description_has_a_meaning_and_is_in_the_reference(name):
    text = PAGES[name]()
    for model in models_of(MODELS[name]):
        assert f"## {model.__name__}\n" in text
        for field, annotation, _, meaning in described_fields(model):
            assert meaning, (
                f"{model.__name__}.{field}: say in the class's docstring what it means, its unit and default"
            )
            assert type_text(annotation), f"{model.__name__}.{field}"
            assert f"| `{field}` |" in text


def test_each_setting_has_a_meaning():
    assert [name for name, _, _, meaning in described_fields(LakeSettings) if not meaning] == []


def test_each_attribute_of_the_component_has_a_meaning():
    assert [name for name, kind, _, meaning in component_fields() if not (kind and meaning)] == []


@pytest.mark.parametrize(
    ("path", "command"), COMMANDS, ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_each_command_and_option_has_a_meaning(path, command):
    assert (command.help or "").strip()
    assert [option for option, meaning in options_of(command) if not meaning] == []
    text = command_reference()
    assert f"# {' '.join(path)}\n" in text
    for option, _ in options_of(command):
        escaped = option.replace("|", "\\|")
        assert f"`{escaped}`" in text


def test_what_all_commands_take_is_told_once():
    names = " ".join(name for name, _ in common_options())
    assert {"--json", "--profile", "--endpoint-url"} <= set(re.findall(r"--[\w-]+", names))
    assert command_reference().count("| `--json` |") == 1 + sum(
        any(name == "--json" and (name, meaning) not in common_options() for name, meaning in options_of(command))
        for _, command in COMMANDS
        if not isinstance(command, click.Group)
    )


def test_each_error_has_a_code_of_its_own_a_meaning_and_a_remedy():
    classes = error_classes()
    codes = [one.code for one in classes]
    assert len(codes) == len(set(codes)) > 40
    assert [one.__name__ for one in classes if not one.__doc__] == []
    assert [code for code in codes if code not in REMEDIES] == [], "say in tools/remedies.py what to do about it"
    assert [code for code in REMEDIES if code not in codes] == []
    text = error_reference()
    assert [code for code in codes if f"| `{code}` |" not in text] == []


def test_each_code_in_the_sources_is_found():
    sources = [
        file.read_text()
        for name in ("connector", "pipelines", "dagster_project")
        for file in (ROOT / name).rglob("*.py")
    ]
    written = {code for text in sources for code in re.findall(r'^    code(?:: \S+)? = "(\w+)"', text, re.MULTILINE)}
    assert written - {one.code for one in error_classes()} == set()
