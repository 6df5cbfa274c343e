"""Keys to datasets, against an oracle that looks at each key by itself; and what is kept of millions of keys."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tierlake.pipelines.survey.classification import datasets_in, owner_of
from tierlake.pipelines.survey.folders import Folder, FolderTree
from tierlake.pipelines.survey.listing import _count_shared, _folders_above
from tierlake.pipelines.survey.looks import Place
from tierlake.pipelines.survey.names import format_of, hive_pair, is_hidden, is_one_of_many

NOW = datetime(2024, 6, 1, tzinfo=UTC)

SEGMENTS = ["a", "b", "2024", "07", "7f", "date=2024-01-01", "date=2024-01-02", "x=", "=x", "", "a b%20é", "*", "_tmp"]
MARKS = ["_delta_log", ".hoodie", "metadata", "_lake"]
NAMES = ["x.parquet", "y.csv", "v1.metadata.json", "dataset.json", f"{0:020}.json", "_SUCCESS", ""]

keys = st.lists(
    st.builds(
        lambda path, name: "/".join([*path, name]),
        st.lists(st.sampled_from([*SEGMENTS, *MARKS]), max_size=4),
        st.sampled_from(NAMES),
    ).filter(bool),
    max_size=30,
    unique=True,
)


def size_of(key):
    return 0 if key.endswith("/") else len(key)


def tree_of(keys, **options):
    tree = FolderTree(NOW, **options)
    for key in keys:
        tree.add(key, size_of(key), "STANDARD", NOW - timedelta(days=len(key)))
    return tree


def prefix(path):
    return "".join(f"{segment}/" for segment in path)


def tables_of(keys):
    """The roots of tables: path to kinds."""
    tables = defaultdict(set)
    for key in keys:
        *path, name = key.split("/")
        for depth, segment in enumerate(path):
            if segment in {"_delta_log", ".hoodie"}:
                tables[prefix(path[:depth])].add({"_delta_log": "delta", ".hoodie": "hudi"}[segment])
        if path[-1:] == ["metadata"] and name.endswith(".metadata.json"):
            tables[prefix(path[:-1])].add("iceberg")
        if path[-1:] == ["_lake"] and name == "dataset.json":
            tables[prefix(path[:-1])].add("ours")
    return tables


def root_of(key, tables):
    """The dataset of a key."""
    path = key.split("/")[:-1]
    for depth in range(len(path), -1, -1):
        if prefix(path[:depth]) in tables:
            return prefix(path[:depth])
    own = 0
    while own < len(path) and not (hive_pair(path[own]) or is_hidden(path[own]) or is_one_of_many(path[own])):
        own += 1
    return prefix(path[:own])


def oracle(keys):
    """The datasets, key by key: path to kind, objects and bytes."""
    tables = tables_of(keys)
    paths = [key.split("/")[:-1] for key in keys]
    hives = {prefix(path[:depth]) for path in paths for depth, one in enumerate(path) if hive_pair(one)}
    members = defaultdict(list)
    for key in keys:
        members[root_of(key, tables)].append(key)
    order = ("delta", "iceberg", "hudi")
    return {
        root: (
            next((kind for kind in order if kind in tables.get(root, ())), "hive" if root in hives else "files"),
            len(own),
            sum(map(size_of, own)),
        )
        for root, own in members.items()
        if not all(key.endswith("/") for key in own)
    }


@settings(max_examples=50)
@given(keys)
@example(["a/2024/_delta_log/x", "a/2024/1.parquet", "a/2025/1.parquet"])
@example(["2024/date=1/x.csv", "date=1/t/_delta_log/x"])
@example(["/x.csv", "a//x.csv"])
@pytest.mark.parametrize("order", ["bytes of keys", "names of folders"])
def test_each_object_belongs_to_the_dataset_that_an_oracle_names(order, keys):
    # S3 sorts whole keys; SeaweedFS sorts each folder by itself
    listed = sorted(keys, key=(lambda key: key.split("/")) if order == "names of folders" else str.encode)
    found = datasets_in(tree_of(listed).close())
    expected = oracle(keys)
    assert {path: (one.kind, one.count, one.bytes) for path, one in found.items()} == expected
    assert {key: owner_of(key, expected) for key in keys if root_of(key, tables_of(keys)) in expected} == {
        key: root for key in keys if (root := root_of(key, tables_of(keys))) in expected
    }


def folders_of(folder: Folder) -> int:
    return 1 + sum(map(folders_of, folder.folders.values()))


def amounts_of(folder: Folder) -> int:
    own = len(folder.own.by_change) + sum(map(len, folder.own.by_window.values())) + len(folder.own.formats)
    return own + sum(map(amounts_of, folder.folders.values()))


@pytest.mark.parametrize(
    "key",
    [
        "lake/flights/date={day}/part-{n}.parquet",
        "lake/flights/{n}.parquet",
        "logs/{day}/host-{few}/{n}.log.gz",
        "by-hash/{n:08x}/x.json",
        "table/_delta_log/{n:020}.json",
        "tmp/run-{n}-x/out.csv",
    ],
)
def test_what_is_kept_does_not_grow_with_objects(key):
    def kept(number):
        tree = FolderTree(NOW, folders_max=50)
        for n in range(number):
            day = datetime(2000, 1, 1, tzinfo=UTC) + timedelta(days=n)
            name = key.format(n=n, day=f"{day:%Y-%m-%d}", few=n % 3)
            tree.add(name, 10, "STANDARD", NOW - timedelta(days=500))
        root = tree.close()
        assert tree.count == number
        assert sum(one.count for one in datasets_in(root).values()) == number
        return folders_of(root), amounts_of(root)

    few, many = kept(400), kept(800)
    assert many[0] <= few[0] <= 110
    assert many[1] <= few[1] + 6  # steps of age


@settings(max_examples=50)
@given(keys, st.integers(1, 8))
def test_folded_folders_lose_no_object(keys, folders_max):
    found = datasets_in(tree_of(sorted(keys), folders_max=folders_max).close())
    assert sum(one.count for one in found.values()) >= len([key for key in keys if not key.endswith("/")])
    assert sum(one.bytes for one in found.values()) == sum(map(size_of, keys))
    expected = oracle(keys)
    tables = {path for path, (kind, *_) in expected.items() if kind in {"delta", "iceberg", "hudi"}}
    assert tables <= set(found)
    assert all(found[path].count == expected[path][1] for path in tables)


def test_a_dataset_knows_its_columns_partitions_and_format():
    keys = [f"h/date=2024-01-0{day}/origin={origin}/x.parquet" for day in (1, 2) for origin in ("JFK", "LGA")]
    found = datasets_in(tree_of(sorted([*keys, "h/_SUCCESS", "h/date=2024-01-01/origin=JFK/y.json"])).close())["h/"]
    assert (found.columns, found.data.partitions, found.format) == (("date", "origin"), 4, "Parquet")
    assert found.data.by_window.keys() == {"date"}
    assert found.data.first_end["date"] == datetime(2024, 1, 2, tzinfo=UTC)
    mixed = datasets_in(tree_of(["h/date=2024-01-01/x.parquet", "h/x.parquet"]).close())["h/"]
    assert mixed.columns is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("x.PARQUET", "Parquet"),
        ("x.csv.gz", "CSV"),
        ("part-0.zstd.parquet", "Parquet"),
        ("x.tar.gz", "archives"),
        ("x.gz", "other"),
        ("x", "other"),
        ("_SUCCESS", "hidden"),
        (".x.parquet.crc", "hidden"),
        ("", "folder marker"),
    ],
)
def test_formats_go_by_names(name, expected):
    assert format_of(name) == expected


@settings(max_examples=50)
@given(keys, st.data())
@example(["a/2024/date=1/x.csv", "a/2024/date=2/_delta_log/x", "a/2024/x.csv"], None)
def test_parts_of_a_listing_tell_the_same_together(keys, data):
    listed = sorted(keys, key=str.encode)
    folders = sorted({prefix(key.split("/")[:depth]) for key in keys for depth in range(1, key.count("/") + 1)})
    if data is None:
        bounds = folders[1:]
    else:
        bounds = sorted(data.draw(st.lists(st.sampled_from(folders), unique=True))) if folders else []
    shared = _folders_above(Place("b", ""), bounds)
    root = Folder("")
    for start, end in pairwise(["", *bounds, None]):
        tree = FolderTree(NOW)
        tree.shared = shared
        for key in listed:
            if (not start or key > start) and (end is None or key <= end):
                tree.add(key, size_of(key), "STANDARD", NOW)
        root.merge(tree.close())
    _count_shared(root, shared)
    found = datasets_in(root)
    whole = datasets_in(tree_of(listed).close())
    assert {path: (one.kind, one.count, one.bytes) for path, one in found.items()} == oracle(keys)
    assert {path: one.data.partitions for path, one in found.items()} == {
        path: one.data.partitions for path, one in whole.items()
    }
    assert {path: one.columns for path, one in found.items()} == {path: one.columns for path, one in whole.items()}
