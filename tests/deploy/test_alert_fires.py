"""Of 100 requests 10 fail, and the alert on the error rate fires: Prometheus, tierlake and the server are real ones.

The rules are those that we ship, on a clock that runs thirty times as fast (`shortened`): what takes five minutes there
takes ten seconds here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

import pytest
import yaml

from tests.deploy import steady_work
from tests.deploy.prometheus import RULES, program, shortened
from tests.faults.answers import Refusal
from tests.faults.proxy import Proxy, Request
from tests.polling import until
from tests.servers import Rig
from tierlake.connector.local_server.processes import LOOPBACK, free_ports

pytestmark = pytest.mark.slow

ALERT = "TierlakeErrorRateHigh"
TIMES = 30
SECONDS = 120


def each_tenth(request: Request) -> Refusal | None:
    return Refusal(is_head=request.method == "HEAD") if request.number % 10 == 9 else None


@contextmanager
def running(command: list[Any], log: Path, environ: dict[str, str] | None = None) -> Iterator[None]:
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out, env=environ) as process:
        try:
            yield
        finally:
            process.kill()


@contextmanager
def working(server: Rig, proxy: Proxy, path: str, port: int, log: Path) -> Iterator[None]:
    """A process whose requests pass the proxy, and whose metrics are at the port."""
    environ = {**os.environ, **server.environ(), "TIERLAKE_ENDPOINT_URL": proxy.url}
    environ["TIERLAKE_METRICS"] = f"prometheus:{port}"
    with running([sys.executable, steady_work.__file__, path], log, environ):
        yield


@contextmanager
def receiving() -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """What an Alertmanager would get: its port, and the alerts that have come."""
    alerts: list[dict[str, Any]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            alerts.extend(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer((LOOPBACK, 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server.server_port, alerts
        server.shutdown()


class Prometheus:
    """A server of the test's own.

    Args:
        folder: Its configuration and data.
        targets: The port of each job.
        receiver: The port where alerts go.
    """

    def __init__(self, folder: Path, targets: dict[str, int], receiver: int) -> None:
        self.folder = folder
        (self.port,) = free_ports(1)
        (folder / "rules.yml").write_text(shortened(RULES.read_text(), times=TIMES))
        configuration = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yml"],
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": [f"{LOOPBACK}:{port}"]}]}
                for job, port in targets.items()
            ],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"{LOOPBACK}:{receiver}"]}]}]},
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))

    @property
    def command(self) -> list[str]:
        return [
            program("prometheus"),
            f"--config.file={self.folder}/prometheus.yml",
            f"--storage.tsdb.path={self.folder}/data",
            f"--web.listen-address={LOOPBACK}:{self.port}",
        ]

    def api(self, path: str) -> Any:
        with urlopen(f"http://{LOOPBACK}:{self.port}/api/v1/{path}", timeout=5) as answer:
            return json.load(answer)["data"]

    def alerts(self) -> set[tuple[str, str, str]]:
        """Name, job and state of those that are pending or firing; none before it answers."""
        try:
            found = self.api("alerts")["alerts"]
        except OSError:
            return set()
        return {(one["labels"]["alertname"], one["labels"]["job"], one["state"]) for one in found}

    def value(self, name: str, job: str) -> float:
        query = f'{name}{{job="{job}"}}'
        (series,) = self.api(f"query?query={quote(query)}")["result"]
        return float(series["value"][1])


def test_a_tenth_of_the_requests_fails_and_the_alert_fires(seaweedfs: Rig, tmp_path: Path) -> None:
    bucket = seaweedfs.make_bucket()
    failing_port, healthy_port = free_ports(2)
    jobs = {"tierlake-failing": failing_port, "tierlake-healthy": healthy_port}
    with (
        receiving() as (receiver, received),
        Proxy(seaweedfs.endpoint_url, before=each_tenth) as failing,
        Proxy(seaweedfs.endpoint_url) as healthy,
        working(seaweedfs, failing, f"{bucket}/a", failing_port, tmp_path / "failing.log"),
        working(seaweedfs, healthy, f"{bucket}/b", healthy_port, tmp_path / "healthy.log"),
    ):
        prometheus = Prometheus(tmp_path, jobs, receiver)
        with running(prometheus.command, tmp_path / "prometheus.log"):
            until(lambda: (ALERT, "tierlake-failing", "firing") in prometheus.alerts(), SECONDS)
            until(lambda: any(one["labels"]["alertname"] == ALERT for one in received), SECONDS)
            assert {job for name, job, _ in prometheus.alerts() if name == ALERT} == {"tierlake-failing"}
            assert 0.07 < prometheus.value("tierlake:failure_ratio:increase5m", "tierlake-failing") < 0.13
            assert prometheus.value("tierlake:failure_ratio:increase5m", "tierlake-healthy") == 0
            assert prometheus.value("tierlake:requests:increase5m", "tierlake-healthy") > 50
    notice = next(one for one in received if one["labels"]["alertname"] == ALERT)
    assert notice["labels"]["job"] == "tierlake-failing"
    assert notice["annotations"]["runbook"] == "docs/operations.md#tierlakeerrorratehigh"
    seaweedfs.drop_bucket(bucket)
