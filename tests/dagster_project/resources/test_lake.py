from __future__ import annotations

import traceback
from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from tierlake.connector.errors import InvalidSetting
from tierlake.dagster_project.io_manager import LakeParquetIOManager
from tierlake.dagster_project.resources.lake import STORE_VARIABLES, LakeResource
from tierlake.pipelines.errors import TableNotFound


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


@pytest.mark.parametrize("name", ["key", "secret", "token"])
def test_a_literal_secret_is_refused_and_not_repeated(name: str) -> None:
    lake = LakeResource(**{name: "hush"})
    ways = (
        lambda: dg.Definitions(resources={"lake": lake}).get_repository_def(),
        lambda: LakeParquetIOManager(lake=lake),
    )
    for way in ways:
        with pytest.raises(dg.DagsterInvalidDefinitionError, match=rf"{name}=dg\.EnvVar") as refused:
            way()
        assert "hush" not in str(refused.value)


@pytest.mark.parametrize("name", ["key", "secret", "token"])
def test_at_the_launchpad_a_secret_is_a_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str | None] = []

    @dg.op
    def look(lake: LakeResource) -> None:
        seen.append(getattr(lake, name))

    @dg.job(resource_defs={"lake": LakeResource(secret=dg.EnvVar("MY_SECRET"))})
    def looks() -> None:
        look()

    def config(value: object) -> dict[str, object]:
        return {"resources": {"lake": {"config": {name: value}}}}

    monkeypatch.setenv("MY_SECRET", "as-defined")
    monkeypatch.setenv("OTHER_SECRET", "as-named")
    with pytest.raises(dg.DagsterInvalidConfigError, match=f"lake:config:{name}") as refused:
        dg.validate_run_config(looks, config("hush"))
    assert "hush" not in str(refused.value)
    assert looks.execute_in_process(run_config=config({"env": "OTHER_SECRET"})).success
    assert looks.execute_in_process().success
    assert seen == ["as-named", {"secret": "as-defined"}.get(name)]
    with pytest.raises(dg.DagsterInvalidConfigError, match="NOT_SET"):
        looks.execute_in_process(run_config=config({"env": "NOT_SET"}))


URLS_WITH_SECRETS = {
    "endpoint_url": ("http://user:hush@127.0.0.1:9", "https://hush@host", "http://host?token=hush", "user:hush@host"),
    "warehouse": ("lake://user:hush@bucket/wh", "lake://bucket/wh?X-Amz-Signature=hush", "hush@bucket/wh"),
}
VARIABLES = {
    "endpoint_url": ("TIERLAKE_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
    "warehouse": ("TIERLAKE_WAREHOUSE",),
}
TYPED_URLS = [(name, url) for name, urls in URLS_WITH_SECRETS.items() for url in urls]


@pytest.mark.parametrize(("name", "url"), TYPED_URLS)
def test_a_url_with_a_secret_is_refused_in_python_and_not_repeated(name: str, url: str) -> None:
    with pytest.raises(dg.DagsterInvalidDefinitionError, match=rf"LakeResource\({name}=.*dg\.EnvVar") as refused:
        LakeResource(**{name: url})
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize(("name", "url"), TYPED_URLS)
def test_a_url_with_a_secret_is_refused_at_the_launchpad_and_where_a_variable_has_it(
    name: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dg.op
    def look(lake: LakeResource) -> None:
        lake.uri("flights")
        lake.filesystem()

    @dg.job(resource_defs={"lake": LakeResource()})
    def looks() -> None:
        look()

    monkeypatch.setenv("NAMED", url)
    for value in (url, {"env": "NAMED"}):
        config = {"resources": {"lake": {"config": {name: value}}}}
        with pytest.raises(InvalidSetting, match=f"{name} must not hold") as refused:
            looks.execute_in_process(run_config=config)
        assert "hush" not in "".join(traceback.format_exception(refused.value))
    for variable in VARIABLES[name]:
        with monkeypatch.context() as patch:
            patch.setenv(variable, url)
            with pytest.raises(InvalidSetting, match=f"{variable}.*must not hold") as refused:
                looks.execute_in_process()
            assert "hush" not in "".join(traceback.format_exception(refused.value))


def test_resources_that_would_take_typed_secrets_are_not_made() -> None:
    with pytest.raises(dg.DagsterInvalidDefinitionError, match=r"LakeResource\(\.\.\.\) itself"):
        LakeResource.configure_at_launch()


def test_the_io_manager_resolves_environment_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str | None] = []

    class Look(LakeParquetIOManager):
        def handle_output(self, context: dg.OutputContext, obj: object) -> None:
            seen.append(self.lake.filesystem().settings.secret_of("secret"))

    @dg.asset
    def one() -> int:
        return 1

    monkeypatch.setenv("MY_SECRET", "late-secret")
    monkeypatch.setenv("MY_KEY", "AKIA")
    lake = LakeResource(endpoint_url="http://127.0.0.1:9", key=dg.EnvVar("MY_KEY"), secret=dg.EnvVar("MY_SECRET"))
    defs = dg.Definitions([one], resources={"lake": lake, "io_manager": Look(lake=lake)})
    assert defs.resolve_implicit_global_asset_job_def().execute_in_process().success
    assert seen == ["late-secret"]


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


@pytest.fixture
def no_store(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*STORE_VARIABLES, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("no_store")
def test_without_a_store_in_the_environment_a_server_on_this_machine_has_the_datasets(tmp_path: Path) -> None:
    lake = LakeResource(embedded_server=str(tmp_path / ".lake"))
    assert not (tmp_path / ".lake").exists()  # nothing is made before it is needed
    fs = lake.filesystem()
    fs.pipe(f"{lake.uri('a')}/b", b"c")
    again = LakeResource(embedded_server=str(tmp_path / ".lake")).filesystem()
    assert again.cat("warehouse/a/b") == b"c"


@pytest.mark.usefixtures("no_store")
@pytest.mark.parametrize("name", STORE_VARIABLES)
def test_each_variable_that_names_a_store_leaves_that_server_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    values = {"TIERLAKE_WAREHOUSE": "lake://mine", "TIERLAKE_PROFILE": "aws"}
    monkeypatch.setenv(name, values.get(name, "http://127.0.0.1:9"))
    LakeResource(embedded_server=str(tmp_path / ".lake")).filesystem()
    assert not (tmp_path / ".lake").exists()


@pytest.mark.usefixtures("no_store")
@pytest.mark.parametrize("field", [{"warehouse": "lake://mine"}, {"endpoint_url": "http://127.0.0.1:9"}])
def test_so_does_each_field(tmp_path: Path, field: dict[str, str]) -> None:
    LakeResource(embedded_server=str(tmp_path / ".lake"), **field).filesystem()
    assert not (tmp_path / ".lake").exists()
