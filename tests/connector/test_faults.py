"""Mistyped descriptions: each fault with its file, its line and the name that was meant."""

import pytest

from tierlake.connector.bucket import BucketSpec
from tierlake.connector.documents import yaml_lines
from tierlake.connector.errors import InvalidSetting
from tierlake.pipelines.errors import SpecError
from tierlake.pipelines.model.spec import DatasetSpec

DATASET = """\
uri: lake://warehouse/flights
format: dleta
partition:
  time: {colum: time_hour, every: dya}
write:
  storage_clas: STANDARD
tiers:
  - {after: 30d, tier: warm}
  - after: 90d
    tier: clod
retention:
  expire_aftr: 300d
"""
FAULTS = [
    ("format", 2, "delta"),
    ("partition.time.colum", 4, "column"),
    ("partition.time.every", 4, "day"),
    ("write.storage_clas", 6, "storage_class"),
    ("tiers.1.tier", 10, "cold"),
    ("retention.expire_aftr", 12, "expire_after"),
]


@pytest.mark.parametrize(("place", "line", "meant"), FAULTS)
def test_a_field_of_a_dataset_is_named_with_its_line_and_the_nearest(tmp_path, place, line, meant):
    path = tmp_path / "flights.yaml"
    path.write_text(DATASET)
    with pytest.raises(SpecError) as refused:
        DatasetSpec.from_yaml(path)
    assert refused.value.message.startswith(f"{path}: the dataset spec is not valid: ")
    (fault,) = [part for part in refused.value.message.split("; ") if f"{place}: " in part]
    assert fault.endswith(f"(line {line})")
    assert f"{place}: Did you mean {meant!r}?" in refused.value.hint


def test_one_fault_has_its_hint_alone_and_python_has_no_line():
    with pytest.raises(SpecError) as refused:
        DatasetSpec(uri="lake://b/t", retention={"grce": "7d"})
    assert refused.value.message == "the dataset spec is not valid: retention.grce: there is no such field"
    assert refused.value.hint == "Did you mean 'grace'?"


def test_a_field_like_no_other_is_answered_with_all_of_them():
    with pytest.raises(SpecError) as refused:
        DatasetSpec(uri="lake://b/t", rejects={"xyzzy": 1})
    assert refused.value.hint == "There is max_ratio"


@pytest.mark.parametrize(
    ("text", "fault", "meant"),
    [
        ("bucket: warehouse\nversionin: true\n", "versionin: there is no such field (line 2)", "versioning"),
        (
            "bucket: warehouse\nlifecycle:\n  abort_uploads_aftr: 7d\n",
            "lifecycle.abort_uploads_aftr: there is no such field (line 3)",
            "abort_uploads_after",
        ),
        (
            "bucket: warehouse\nremote_tiers:\n- name: COLD\n  endpoint_ur: http://x\n",
            "remote_tiers.0.endpoint_ur: there is no such field (line 4)",
            "endpoint_url",
        ),
    ],
)
def test_a_field_of_a_bucket_is_named_likewise(tmp_path, text, fault, meant):
    path = tmp_path / "bucket.yaml"
    path.write_text(text)
    with pytest.raises(InvalidSetting) as refused:
        BucketSpec.from_yaml(path)
    assert refused.value.message.startswith(f"{path}: ")
    assert fault in refused.value.message
    assert f"Did you mean {meant!r}?" in refused.value.hint


def test_no_value_of_a_bucket_is_repeated(tmp_path):
    text = (
        "bucket: warehouse\nremote_tiers:\n- {name: COLD, endpoint_url: 'http://h', key: AKIAKEY, secrt: hush-hush}\n"
    )
    with pytest.raises(InvalidSetting) as refused:
        BucketSpec.from_yaml(text)
    assert "hush" not in f"{refused.value} {refused.value.hint}"
    assert "AKIAKEY" not in f"{refused.value} {refused.value.hint}"


def test_lines_go_by_names_and_places_and_end_where_an_alias_leads_back():
    assert yaml_lines("a:\n  b: 1\nc:\n  - x\n  - d: 2\n") == {
        ("a",): 1,
        ("a", "b"): 2,
        ("c",): 3,
        ("c", "0"): 4,
        ("c", "1"): 5,
        ("c", "1", "d"): 5,
    }
    assert yaml_lines("a: &x {b: *x}\n")[("a", "b", "b")] == 1
    assert yaml_lines("") == {}
