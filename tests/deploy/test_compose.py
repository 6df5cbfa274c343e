"""The compose file: complete, pinned, without a secret, and of one mind with the code and with itself."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from botocore.exceptions import ClientError

from tests import ROOT
from tests.deploy.prometheus import DEPLOY, promtool
from tierlake.connector.bucket import BucketSpec
from tierlake.connector.iam import policy_document
from tierlake.connector.local_server.servers import minio_binary
from tierlake.connector.settings import LakeSettings

COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
EXAMPLE = (DEPLOY / ".env.example").read_text()
REQUIRED = re.compile(r"\$\{(\w+):\?[^}]+\}")
SECRET = re.compile(r"PASSWORD|SECRET|ACCESS_KEY|KMS|TOKEN")


def environment(service: str) -> dict[str, str]:
    values: dict[str, str] = SERVICES[service].get("environment", {})
    return values


def with_each(what: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("service", [name for name, one in SERVICES.items() if what in one])


def test_it_has_all_of_them():
    assert {"minio", "lake", "webserver", "daemon", "prometheus", "grafana"} <= SERVICES.keys()


@with_each("image")
def test_images_have_a_version(service):
    _, _, tag = SERVICES[service]["image"].rpartition(":")
    assert re.search(r"\d", tag)
    assert "latest" not in tag


@pytest.mark.parametrize("file", sorted(DEPLOY.rglob("Dockerfile")), ids=lambda file: file.parent.name)
def test_so_have_the_images_that_ours_are_made_from(file):
    bases = re.findall(r"^FROM (\S+)", file.read_text(), re.MULTILINE)
    assert bases
    assert [one for one in bases if not re.search(r":\d+\.\d+[\w.-]*$", one)] == []


@with_each("environment")
def test_secrets_come_from_outside_and_nothing_starts_without(service):
    for name, value in environment(service).items():
        if SECRET.search(name):
            assert REQUIRED.fullmatch(value), name


def test_the_example_names_each_variable_and_gives_none_a_value():
    assert set(re.findall(r"^(\w+)=$", EXAMPLE, re.MULTILINE)) == set(REQUIRED.findall(yaml.safe_dump(COMPOSE)))
    assert re.findall(r"^\w+=.+$", EXAMPLE, re.MULTILINE) == []


def test_what_the_user_writes_is_not_committed():
    assert "/deploy/.env" in (ROOT / ".gitignore").read_text().splitlines()


@with_each("volumes")
def test_what_is_mounted_exists(service):
    for volume in SERVICES[service]["volumes"]:
        source, _, target = volume.partition(":")
        assert target.startswith("/")
        if source.startswith("."):
            assert (DEPLOY / source).exists(), source
            assert target.endswith(":ro"), volume
        else:
            assert source in COMPOSE["volumes"]


@with_each("build")
def test_what_is_built_exists(service):
    build = SERVICES[service]["build"]
    context = (DEPLOY / build["context"]).resolve()
    file = context / build.get("dockerfile", "Dockerfile")
    for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", file.read_text(), re.MULTILINE):
        for source in sources.split():
            assert (context / source).exists(), source


@with_each("ports")
def test_ports_are_open_on_this_machine_alone(service):
    published = [port.split(":") for port in SERVICES[service]["ports"]]
    assert {host for host, _, _ in published} == {"127.0.0.1"}


def test_no_port_is_published_twice():
    published = [port.rpartition(":")[0] for one in SERVICES.values() for port in one.get("ports", ())]
    assert len(set(published)) == len(published)


@with_each("depends_on")
def test_what_is_waited_for_can_say_so(service):
    for other, how in SERVICES[service]["depends_on"].items():
        if how["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[other], other
        else:
            assert (how["condition"], SERVICES[other]["restart"]) == ("service_completed_successfully", "on-failure:5")


@with_each("environment")
def test_variables_of_ours_are_settings(service):
    files = (
        file for package in ("connector", "pipelines", "dagster_project") for file in ROOT.glob(f"{package}/**/*.py")
    )
    sources = "".join(file.read_text() for file in files)
    fields = {f"TIERLAKE_{name.upper()}" for name in LakeSettings.model_fields}
    ours = {name for name in environment(service) if name.startswith("TIERLAKE_")}
    assert [name for name in ours - fields if f'"{name}"' not in sources] == []


def test_the_code_location_observes_what_it_does(monkeypatch):
    for name, value in environment("lake").items():
        if name.startswith(("TIERLAKE_", "OTEL_")):
            monkeypatch.setenv(name, value)
    settings = LakeSettings()
    assert (settings.log, settings.metrics, settings.metrics_datasets) == ("json", "otlp", "*")
    assert settings.observing.with_variables(os.environ).traces is None  # Prometheus takes none


def test_services_find_each_other():
    lake = environment("lake")
    assert lake["TIERLAKE_ENDPOINT_URL"] == environment("bucket")["TIERLAKE_ENDPOINT_URL"]
    assert lake["TIERLAKE_ENDPOINT_URL"] == environment("user")["MINIO_URL"] == "http://minio:9000"
    assert "--address :9000" in SERVICES["minio"]["command"]
    receiver = lake["OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"]
    assert receiver == "http://prometheus:9090/api/v1/otlp/v1/metrics"
    assert "--web.enable-otlp-receiver" in SERVICES["prometheus"]["command"]
    (source,) = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yaml").read_text())["datasources"]
    assert receiver.startswith(source["url"])
    (provider,) = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/tierlake.yaml").read_text())["providers"]
    assert f"./grafana/dashboards:{provider['options']['path']}:ro" in SERVICES["grafana"]["volumes"]
    (location,) = yaml.safe_load((DEPLOY / "dagster/workspace.yaml").read_text())["load_from"]
    assert location["grpc_server"]["host"] == "lake"
    assert f"--port {location['grpc_server']['port']} " in SERVICES["lake"]["command"]
    postgres = yaml.safe_load((DEPLOY / "dagster/dagster.yaml").read_text())["storage"]["postgres"]["postgres_db"]
    assert postgres["hostname"] in SERVICES
    assert environment("postgres")["POSTGRES_USER"] == postgres["username"]
    assert environment("postgres")["POSTGRES_DB"] == postgres["db_name"]
    assert postgres["password"]["env"] in environment("lake")
    sent_each = int(lake["OTEL_METRIC_EXPORT_INTERVAL"]) / 1000
    assert source["jsonData"]["timeInterval"] == f"{sent_each:g}s"


def test_prometheus_takes_its_configuration():
    promtool("check", "config", DEPLOY / "prometheus" / "prometheus.yml")


def test_the_images_of_ours_have_this_version_and_the_tests_minio():
    pyproject = (ROOT / "pyproject.toml").read_text()
    version = re.search(r'^version = "(.+)"', pyproject, re.MULTILINE)
    assert version
    assert SERVICES["lake"]["image"] == f"tierlake-dagster:{version[1]}"
    script, dockerfile = (ROOT / "tools/minio.sh").read_text(), (DEPLOY / "minio/Dockerfile").read_text()
    built = re.findall(r"github\.com/minio/\S+@\S+", dockerfile)
    assert built == re.findall(r"github\.com/minio/\S+@\S+", script)
    assert SERVICES["minio"]["image"].rpartition(":")[2] in built[0]


@pytest.mark.slow
def test_a_wheel_can_be_built_from_what_the_image_gets(tmp_path):
    dockerfile = DEPLOY / "dagster" / "Dockerfile"
    kept = (dockerfile.parent / "Dockerfile.dockerignore").read_text()
    for sources, target in re.findall(r"^COPY (.+) (\S+)$", dockerfile.read_text(), re.MULTILINE):
        for source in map(Path, sources.split()):
            assert any(f"!{path}\n" in kept for path in (source, *source.parents)), source
            if not target.startswith("/"):
                place = tmp_path / target / (source.name if target.endswith("/") else "")
                place.parent.mkdir(parents=True, exist_ok=True)
                copy = shutil.copytree if source.suffix == "" and (ROOT / source).is_dir() else shutil.copy
                copy(ROOT / source, place)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("dist/*.whl"))) == 1


@pytest.fixture
def warehouse(minio):
    """The bucket of minio/bucket.yaml, made by the command of the service `bucket`."""
    described = DEPLOY / "minio" / "bucket.yaml"
    bucket = BucketSpec.from_yaml(described).bucket
    minio.drop_bucket(bucket)
    command = [Path(sys.executable).with_name("tierlake"), "bucket", "apply", described, "--yes"]
    done = subprocess.run(
        command, env={**os.environ, **minio.environ()}, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    yield bucket
    minio.drop_bucket(bucket)


@pytest.mark.slow
def test_dagsters_user_may_work_in_the_bucket_and_nowhere_else(minio, warehouse, tmp_path):
    policy = tmp_path / "operator.json"
    policy.write_text(json.dumps(policy_document("operator", warehouse)))
    name, secret = "compose-lake", "compose-lake-secret"
    environ = {
        "PATH": f"{minio_binary().parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "MINIO_URL": minio.endpoint_url,
        "MINIO_ROOT_USER": minio.key,
        "MINIO_ROOT_PASSWORD": minio.secret,
        "LAKE_ACCESS_KEY": name,
        "LAKE_SECRET_KEY": secret,
        "POLICY": str(policy),
    }
    for _ in range(2):
        command = ["sh", DEPLOY / "minio" / "user.sh"]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        assert secret not in done.stdout + done.stderr
    user = replace(minio, key=name, secret=secret).admin
    user.put_object(Bucket=warehouse, Key="x", Body=b"x")
    assert user.head_object(Bucket=warehouse, Key="x")["ServerSideEncryption"] == "AES256"
    other = minio.make_bucket()
    with pytest.raises(ClientError, match="AccessDenied"):
        user.put_object(Bucket=other, Key="x", Body=b"x")
    minio.drop_bucket(other)
