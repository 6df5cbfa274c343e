"""What people and their machines hand in: descriptions, saved plans, prices, settings, cursors, conditions."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import strategies as st

from tests import ROOT
from tests.fuzz.case import SECRET, Case
from tests.fuzz.mutations import json_mutations, texts, yaml_mutations
from tests.pipelines.conftest import trip_spec
from tests.pipelines.lifecycle.test_plan import AS_OF, a_move, a_plan
from tierlake.connector.bucket.minio_tier import _places
from tierlake.connector.bucket.spec import BucketSpec
from tierlake.connector.documents import UnreadableDocument, json_document
from tierlake.connector.objects import presign
from tierlake.connector.observe.tracing import parsed
from tierlake.connector.profiles import profile_for_server_header
from tierlake.connector.settings import LakeSettings, check_endpoint, is_aws, is_loopback
from tierlake.connector.urls import secret_in_place, without_secrets
from tierlake.dagster_project.automation.cursor import Cursor
from tierlake.dagster_project.automation.restores import _Cursor
from tierlake.dagster_project.executors.configured import VARIABLE, chosen_executor
from tierlake.dagster_project.partitions.metadata import SPEC, spec_of
from tierlake.pipelines.lifecycle.plan import Expiration, ExpiryPlan, Refusal, is_plan, load_plan
from tierlake.pipelines.model.spec import DatasetSpec
from tierlake.pipelines.prices import PriceList

__all__ = ["CASES"]

TIERING = a_plan(a_move(), refused=(Refusal(key="date=2013-01-01", reason="held"),))
EXPIRY = ExpiryPlan(
    uri="lake://warehouse/flights",
    version=1,
    as_of=AS_OF,
    steps=(
        Expiration(
            key="date=2013-01-01",
            files=TIERING.steps[0].files,
            rows=3,
            age=timedelta(days=320),
            reason="old",
            monthly=0.5,
        ),
    ),
    grace=timedelta(days=7),
)
SPEC_YAML = trip_spec("warehouse").to_yaml()
BUCKET_YAML = f"""
bucket: warehouse
versioning: true
encryption: sse-s3
policy: {{deny_insecure_transport: true}}
cors: [{{id: app, origins: ["https://app.example"], methods: [GET], max_age: 1h}}]
lifecycle: {{abort_uploads_after: 7d, tiers: [warm]}}
remote_tiers:
- name: COLD
  endpoint_url: https://cold.example
  bucket: cold
  key: AKIA
  secret: {SECRET}
"""
PRICES = json.loads((ROOT / "pipelines" / "prices" / "self_hosted.json").read_text())
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ENDPOINTS = (
    *("http://[::1", "http://[x]", "http://host:99999", "http://host:x", "http://[::1]:9000", "http://℀.com"),
    *("http://a b", f"https://ann:{SECRET}@host", f"https://host?X-Amz-Signature={SECRET}", "//host", "ftp://host"),
)


def _spec(data: bytes) -> None:
    spec = DatasetSpec.from_yaml(_file(data))
    assert DatasetSpec.from_yaml(spec.to_yaml()) == spec


def _bucket(data: bytes) -> None:
    spec = BucketSpec.from_yaml(_file(data))
    assert SECRET not in repr(spec)
    assert SECRET not in spec.to_yaml()


def _file(data: bytes) -> Any:
    """A file of these bytes, as `from_yaml` takes one."""
    return _Bytes(data)


class _Bytes(type(Path())):  # type: ignore[misc]  # a file in memory
    def __new__(cls, data: bytes) -> _Bytes:
        made = super().__new__(cls, "spec.yaml")
        made.data = data
        return made

    def __init__(self, _data: bytes) -> None:
        super().__init__()

    def read_bytes(self) -> bytes:
        return bytes(self.data)


def _plan(data: bytes) -> None:
    assert is_plan(data) in {True, False}
    plan = load_plan(data)
    assert load_plan(plan.to_json()).to_json() == plan.to_json()
    assert plan.uri in str(plan)
    assert plan.bytes == sum(step.bytes for step in plan.steps) or plan.kind == "tiering"
    plan.check_is_for(plan.uri)


def _prices(data: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "prices.json")
        path.write_bytes(data)
        prices = PriceList.from_file(path)
    assert prices.classes or prices.tiers


def _executor(data: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "executor.yaml")
        path.write_bytes(data)
        chosen_executor({VARIABLE: str(path)})


def _definition(data: bytes) -> None:
    spec_of({SPEC: data.decode("utf-8", "surrogateescape")})


def _cursors(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    assert Cursor.read(str(Cursor.read(text))) == Cursor.read(text)
    assert _Cursor.read(str(_Cursor.read(text))) == _Cursor.read(text)
    assert all(0 <= one < 2**63 for one in _Cursor.read(text).open)


def _endpoint(text: str) -> None:
    assert is_aws(text) in {True, False}
    if secret_in_place(text) is None and "@" not in text and "?" not in text:
        assert SECRET not in without_secrets(text) or SECRET in text
    LakeSettings.of(endpoint_url=text)
    check_endpoint(text, allow_http=False)
    assert text.lower().startswith("https://") or is_loopback(text)


def _lifetime(value: Any) -> None:
    assert 1 <= presign.lifetime_seconds(value) <= 7 * 86400


def _conditions(given: dict[str, Any]) -> None:
    presign._check_conditions(given)
    smallest, largest = given.get("size", (0, 0))
    assert 0 <= smallest <= largest


def _trace(text: str) -> None:
    span = parsed(text)
    if span is not None:
        assert span.trace_id in text
        assert span.trace_id.strip("0")
        assert span.span_id.strip("0")


def _server(header: str) -> None:
    profile = profile_for_server_header(header)
    assert profile is None or profile.name


def _tiers(data: bytes) -> None:
    with suppress(UnreadableDocument):  # its caller names the server
        assert all(isinstance(place["bucket"], str) for place in _places(json_document(data)).values())


def _mutated_text(text: str) -> st.SearchStrategy[str]:
    cut = st.integers(0, len(text)).flatmap(lambda at: texts().map(lambda middle: text[:at] + middle + text[at:]))
    changed = st.integers(0, len(text) - 1).flatmap(
        lambda at: texts().map(lambda middle: text[:at] + middle + text[at + 1 :])
    )
    return st.one_of(
        cut, changed, texts(), st.sampled_from([text, text.upper(), text[:-1], f"{text}-x", f"cc{text[2:]}"])
    )


ANYTHING = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts(), st.lists(st.integers(), max_size=3))
TIERS = [{"Name": "COLD", "MinIO": {"Endpoint": "http://cold", "Bucket": "b", "Prefix": "", "Region": ""}}]

CASES = (
    Case("description in YAML", yaml_mutations(SPEC_YAML), _spec, "spec"),
    Case("bucket in YAML", yaml_mutations(BUCKET_YAML), _bucket, "ucket"),
    Case("tiering plan", json_mutations(json.loads(TIERING.to_json())), _plan, "saved plan"),
    Case("expiry plan", json_mutations(json.loads(EXPIRY.to_json())), _plan, "saved plan"),
    Case("prices", json_mutations(PRICES), _prices, "prices.json"),
    Case("executor", yaml_mutations("multiprocess:\n  max_concurrent: 4\n"), _executor),
    Case("definition", json_mutations(json.loads(trip_spec("warehouse").model_dump_json())), _definition, "spec"),
    Case("cursors", json_mutations({"version": 1, "state": "a", "act": "b", "newest": 5, "open": [1, 2]}), _cursors),
    Case("endpoint", st.one_of(st.sampled_from(ENDPOINTS), _mutated_text("https://127.0.0.1:9000")), _endpoint),
    Case("lifetime", st.one_of(st.floats(), st.integers(), st.timedeltas(), ANYTHING), _lifetime),
    Case(
        "conditions",
        st.dictionaries(st.sampled_from(["size", "content_type", "sizes", "acl"]), ANYTHING),
        _conditions,
    ),
    Case("traceparent", _mutated_text(TRACEPARENT), _trace),
    Case("Server header", _mutated_text("MinIO"), _server),
    Case("tiers of MinIO", json_mutations(TIERS), _tiers),
)
