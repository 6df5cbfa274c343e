"""Where two descriptions differ, in the words of YAML; no server needed."""

from __future__ import annotations

import pytest

from tierlake.pipelines.errors import SpecDiffers, SpecError
from tierlake.pipelines.model.spec import DatasetSpec
from tierlake.pipelines.model.spec_diff import check_agrees, completed, differences

STORED = DatasetSpec(
    uri="lake://b/t",
    format="parquet",
    partition={"time": {"column": "at"}},
    columns={"at": "timestamp", "v": "int64"},
    tiers=[{"after": "30d", "tier": "warm"}],
    retention={"expire_after": "45d", "grace": "3d"},
)


def words(before: DatasetSpec, after: DatasetSpec) -> dict[str, tuple[str | None, str | None]]:
    return {one.field: (one.before, one.after) for one in differences(before, after)}


def test_fields_are_named_as_yaml_nests_them_and_values_as_it_writes_them() -> None:
    other = STORED.model_copy(
        update={
            "columns": {"at": "timestamp", "w": "string"},
            "tiers": (),
            "retention": STORED.retention.model_copy(update={"expire_after": None}),
        }
    )
    assert words(STORED, other) == {
        "columns.v": ("int64", None),
        "columns.w": (None, "string"),
        "tiers": ("[{after: 30d, tier: warm}]", "[]"),
        "retention.expire_after": ("45d", "null"),
    }
    assert differences(STORED, STORED) == ()


def test_a_whole_description_means_the_default_where_it_says_nothing() -> None:
    described = DatasetSpec(uri="lake://b/t", partition={"time": {"column": "at"}}, columns=STORED.columns)
    assert words(STORED, completed(STORED, described)) == {
        "tiers": ("[{after: 30d, tier: warm}]", "[]"),
        "retention.expire_after": ("45d", "null"),
        "retention.grace": ("3d", "7d"),
    }


def test_format_and_partitioning_that_are_not_said_are_the_tables_own() -> None:
    described = completed(STORED, DatasetSpec(uri="lake://b/t"))
    assert (described.format, described.partition) == (STORED.format, STORED.partition)
    said = DatasetSpec(uri="lake://b/t", format="delta", partition={"time": {"column": "at", "every": "hour"}})
    changes = words(STORED, completed(STORED, said))
    assert (changes["format"], changes["partition.time.every"]) == (("parquet", "delta"), ("day", "hour"))


def test_a_mapping_changes_what_it_says_and_nothing_else() -> None:
    described = completed(STORED, {"retention": {"expire_after": "65d"}})
    assert words(STORED, described) == {"retention.expire_after": ("45d", "65d")}
    with pytest.raises(SpecError, match="contradict"):
        completed(STORED, {"retention": {"expire_after": "20d"}})


def test_a_difference_is_an_error_that_names_the_field_and_both_ways_out() -> None:
    check_agrees(STORED, STORED)
    check_agrees(STORED, {"retention": {"grace": "3d"}})
    with pytest.raises(SpecDiffers) as refused:
        check_agrees(STORED, {"retention": {"grace": "4d"}}, "t.yaml")
    assert "t.yaml differs from what is stored with lake://b/t: retention.grace is 4d, stored as 3d" in str(
        refused.value
    )
    assert "tierlake apply t.yaml" in str(refused.value.hint)
    assert "name lake://b/t alone" in str(refused.value.hint)
