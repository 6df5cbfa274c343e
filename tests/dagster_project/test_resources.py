from __future__ import annotations

from datetime import date

import dagster as dg
import pytest

from dagster_project.resources import LakeResource
from pipelines.errors import TableNotFound


def test_the_warehouse_is_said_or_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert LakeResource().uri("flights") == "lake://warehouse/flights"
    monkeypatch.setenv("TIERLAKE_WAREHOUSE", "lake://other/deep/")
    assert LakeResource().uri("flights") == "lake://other/deep/flights"
    assert LakeResource(warehouse="lake://said").uri("raw/flights") == "lake://said/raw/flights"


def test_today_is_said_or_in_the_environment_or_left_to_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    assert LakeResource().today() is None
    monkeypatch.setenv("TIERLAKE_TODAY", "2014-01-01")
    assert LakeResource().today() == date(2014, 1, 1)
    assert LakeResource(as_of="2015-06-30").today() == date(2015, 6, 30)
    with pytest.raises(ValueError, match="yesterday"):
        LakeResource(as_of="yesterday").today()


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ({"endpoint_url": "http://127.0.0.1:9"}, {"endpoint_url": "http://127.0.0.1:9"}),
        ({"profile": "minio", "endpoint_url": "http://127.0.0.1:9"}, {"profile": "minio"}),
        (
            {"key": "AKIA", "secret": "s3cr3t", "endpoint_url": "http://127.0.0.1:9"},
            {"key": "AKIA", "secret": "s3cr3t"},
        ),
        (
            {"key": "AKIA", "secret": "s3cr3t", "token": "t0ken", "endpoint_url": "http://127.0.0.1:9"},
            {"token": "t0ken"},
        ),
    ],
    ids=["endpoint", "profile", "credentials", "token"],
)
def test_every_setting_reaches_the_filesystem(said: dict[str, str], kept: dict[str, str]) -> None:
    settings = LakeResource(**said).filesystem().settings
    for name, value in kept.items():
        found = settings.secret_of(name) if name in {"secret", "token"} else getattr(settings, name)
        assert found == value


def test_secrets_do_not_show() -> None:
    lake = LakeResource(key="AKIAVISIBLE", secret="hush-secret", token="hush-token")
    for text in (repr(lake), str(lake), f"{[lake]}"):
        assert "hush" not in text
        assert "AKIAVISIBLE" not in text


def test_environment_variables_are_named_and_resolved_late(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str | None] = []
    lake = LakeResource(endpoint_url="http://127.0.0.1:9", key=dg.EnvVar("MY_KEY"), secret=dg.EnvVar("MY_SECRET"))

    @dg.op
    def look(lake: LakeResource) -> None:
        settings = lake.filesystem().settings
        seen.extend([settings.key, settings.secret_of("secret")])

    @dg.job(resource_defs={"lake": lake})
    def looks() -> None:
        look()

    monkeypatch.setenv("MY_KEY", "AKIALATE")
    monkeypatch.setenv("MY_SECRET", "late-secret")
    assert looks.execute_in_process().success
    assert seen == ["AKIALATE", "late-secret"]


def test_a_missing_dataset_is_named(lake: LakeResource) -> None:
    with pytest.raises(TableNotFound, match="nothing_here"):
        lake.dataset("nothing_here")
