"""Who hears of a step that failed, and what; in real runs."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import dagster as dg
import pytest
from dagster.components.testing.utils import component_defs

from tierlake.connector.errors import AccessDenied, LakeError, Throttled
from tierlake.dagster_project.automation.alerts import Alert, Webhook, alert_on_failure
from tierlake.dagster_project.component import LakeDataset
from tierlake.dagster_project.io_manager import LakeParquetIOManager
from tierlake.dagster_project.resources.failures import dagster_failures
from tierlake.dagster_project.resources.lake import LakeResource

# Dagster 1.13 reads YAML with what pydantic has deprecated, and links to the file with what is in beta
pytestmark = pytest.mark.filterwarnings("ignore:.parse_obj_as. is deprecated", "ignore:.* is currently in beta")

TAGS = {"tierlake/dataset": "flights"}


def run(hook: dg.HookDefinition, error: Exception, resources: dict[str, Any] | None = None) -> Any:
    """A run of a job whose only op fails, on its first two tries at least."""

    @dg.op
    def use_the_lake(context: dg.OpExecutionContext) -> None:
        with dagster_failures(context, dg.RetryPolicy(max_retries=1)):
            raise error

    @dg.job(hooks={hook}, tags=TAGS, resource_defs=resources)
    def uses_the_lake() -> None:
        use_the_lake()

    return uses_the_lake.execute_in_process(raise_on_error=False)


@pytest.mark.parametrize("kind", [AccessDenied, Throttled], ids=["fails at once", "tried again"])
def test_one_alert_says_where_why_and_what_to_do(kind: type[LakeError]) -> None:
    heard: list[Alert] = []
    result = run(alert_on_failure(heard.append), kind("no luck", hint="Ask Ann", request_id="R1"))
    about = {"run_id": result.run_id, "job": "uses_the_lake", "step": "use_the_lake", "dataset": "flights"}
    assert heard == [Alert(**about, code=kind.code, message="no luck", hint="Ask Ann", request_id="R1")]
    assert str(heard[0]) == (
        f"uses_the_lake of flights failed in use_the_lake, run {result.run_id}: "
        f"{kind.code}: no luck (request id R1). Ask Ann"
    )


def test_errors_that_are_not_ours_are_told_without_secrets() -> None:
    heard: list[Alert] = []
    run(alert_on_failure(heard.append), ValueError("called with secret='hush' and n=3"))
    assert (heard[0].code, heard[0].message) == ("ValueError", "called with secret=*** and n=3")


def test_who_cannot_be_told_does_not_change_the_run() -> None:
    def nobody(_: Alert) -> None:
        raise OSError("the pager is off")

    result = run(alert_on_failure(nobody), AccessDenied("no"))
    assert [event for event in result.all_events if event.event_type is dg.DagsterEventType.HOOK_ERRORED]
    (failed,) = [event for event in result.all_events if event.is_step_failure]
    assert failed.step_failure_data.user_failure_data.metadata["code"].value == "access_denied"


@pytest.fixture
def inbox() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The URL of a server that takes JSON, and what it has got."""
    got: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(404 if self.path.endswith("/gone") else 204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/T0/hush", got
        server.shutdown()
        thread.join()


def test_a_webhook_takes_it_as_json(inbox, monkeypatch) -> None:
    url, got = inbox
    monkeypatch.setenv("ALERT_URL", url)
    result = run(alert_on_failure("webhook"), AccessDenied("no"), {"webhook": Webhook(url=dg.EnvVar("ALERT_URL"))})
    (alert,) = got
    assert (alert["run_id"], alert["code"], alert["dataset"]) == (result.run_id, "access_denied", "flights")
    assert alert["text"].startswith("uses_the_lake of flights failed in use_the_lake")
    assert "hush" not in repr(Webhook(url=url))
    with pytest.raises(dg.DagsterInvalidDefinitionError, match=r"Webhook\(url=...\) is given literally"):
        Webhook(url=url).get_resource_definition()
    with pytest.raises(ValueError, match="neither http"):
        Webhook(url="file:///etc/passwd").send(Alert("r", "j", "s", None, "c", "m"))


def test_the_address_of_a_webhook_that_refuses_is_in_no_event(inbox, monkeypatch) -> None:
    url, got = inbox
    monkeypatch.setenv("ALERT_URL", f"{url}/gone")
    result = run(alert_on_failure("webhook"), AccessDenied("no"), {"webhook": Webhook(url=dg.EnvVar("ALERT_URL"))})
    (errored,) = [event for event in result.all_events if event.event_type is dg.DagsterEventType.HOOK_ERRORED]
    assert len(got) == 1
    assert "404" in str(errored)
    assert not [event for event in result.all_events if "hush" in str(event)]


def fails(context: dg.AssetExecutionContext) -> None:
    raise AccessDenied("no source")


@pytest.mark.slow
def test_a_component_alerts_for_its_asset_and_its_jobs(instance, inbox, monkeypatch) -> None:
    url, got = inbox
    monkeypatch.setenv("ALERT_URL", url)
    monkeypatch.setenv("TIERLAKE_ENDPOINT_URL", "http://127.0.0.1:1")
    said = f"""
key: flights
source: {__name__}.fails
start: "2013-01-01"
partition: {{time: {{column: at, every: day}}}}
tiers: [{{after: 30d, tier: warm}}]
alert: webhook
"""
    lake = LakeResource()
    resources = {
        "lake": lake,
        "lake_io_manager": LakeParquetIOManager(lake=lake),
        "webhook": Webhook(url=dg.EnvVar("ALERT_URL")),
    }
    defs = component_defs(component=LakeDataset.resolve_from_yaml(said), resources=resources)
    whole = defs.resolve_implicit_global_asset_job_def()
    selected = [dg.AssetKey("flights")]
    options: dict[str, Any] = {"instance": instance, "raise_on_error": False}
    whole.execute_in_process(asset_selection=selected, partition_key="2013-01-01", **options)
    defs.resolve_job_def("flights_tiering").execute_in_process(**options)
    assert [(alert["step"], alert["code"]) for alert in got] == [
        ("flights", "access_denied"),
        ("flights_tiering_op", "bad_credentials"),
    ]
