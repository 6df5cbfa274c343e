"""Keys to datasets, against an oracle that looks at each key by itself; and what is kept of millions of keys."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tierlake.pipelines.costs.amounts import BILLED_LEAST
from tierlake.pipelines.survey.classification import datasets_in, owner_of
from tierlake.pipelines.survey.folders import Folder, FolderTree
from tierlake.pipelines.survey.listing import _count_shared, _folders_above, listed
from tierlake.pipelines.survey.looks import Budget, Place
from tierlake.pipelines.survey.names import format_of, hive_pair, is_hash, is_hidden, is_one_of_many

NOW = datetime(2024, 6, 1, tzinfo=UTC)

SEGMENTS = [
    "a",
    "b",
    "2024",
    "07",
    "7f",
    "be",
    "date=2024-01-01",
    "date=2024-01-02",
    "x=",
    "=x",
    "",
    "a b%20é",
    "*",
    "_tmp",
]
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


def with_hashes(keys):
    """The folders in which one is named by a hash."""
    paths = [key.split("/")[:-1] for key in keys]
    return {prefix(path[:depth]) for path in paths for depth, one in enumerate(path) if is_hash(one)}


def root_of(key, tables, hashed):
    """The dataset of a key."""
    path = key.split("/")[:-1]
    for depth in range(len(path), -1, -1):
        if prefix(path[:depth]) in tables:
            return prefix(path[:depth])
    own = 0
    while own < len(path):
        name, among_hashes = path[own], prefix(path[:own]) in hashed
        if hive_pair(name) or is_hidden(name) or is_one_of_many(name, among_hashes=among_hashes):
            break
        own += 1
    return prefix(path[:own])


def oracle(keys):
    """The datasets, key by key: path to kind, objects and bytes."""
    tables, hashed = tables_of(keys), with_hashes(keys)
    paths = [key.split("/")[:-1] for key in keys]
    hives = {prefix(path[:depth]) for path in paths for depth, one in enumerate(path) if hive_pair(one)}
    members = defaultdict(list)
    for key in keys:
        members[root_of(key, tables, hashed)].append(key)
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
@example(["be/x.csv", "de/x.csv", "fr/x.csv"])
@example(["a/7f/x.csv", "a/be/x.csv", "b/be/x.csv", "b/ca/_delta_log/x"])
@example(["be/x.csv", "c0/x.csv"])
@pytest.mark.parametrize("order", ["bytes of keys", "names of folders"])
def test_each_object_belongs_to_the_dataset_that_an_oracle_names(order, keys):
    # S3 sorts whole keys; SeaweedFS sorts each folder by itself
    listed = sorted(keys, key=(lambda key: key.split("/")) if order == "names of folders" else str.encode)
    found = datasets_in(tree_of(listed).close())
    expected = oracle(keys)
    assert {path: (one.kind, one.count, one.bytes) for path, one in found.items()} == expected
    roots = {key: root_of(key, tables_of(keys), with_hashes(keys)) for key in keys}
    roots = {key: root for key, root in roots.items() if root in expected}
    assert {key: owner_of(key, expected) for key in roots} == roots


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


def test_two_letters_are_a_country_unless_hashes_are_beside_them():
    sales = [f"sales/{code}/day=2024-01-01/x.parquet" for code in ("at", "be", "ca", "de", "fr")]
    found = datasets_in(tree_of(sales).close())
    assert {path: one.kind for path, one in found.items()} == dict.fromkeys(
        (f"sales/{code}/" for code in ("at", "be", "ca", "de", "fr")), "hive"
    )
    prefixes = [f"data/{number:02x}/{inner:02x}/x.csv" for number in range(256) for inner in range(0, 256, 7)]
    root = tree_of(prefixes).close()
    assert {path: one.count for path, one in datasets_in(root).items()} == {"data/": len(prefixes)}
    assert folders_of(root) < 20


def test_a_key_of_slashes_alone_is_as_deep_as_it_likes():
    deep = "/" * 1023
    keys = sorted(["2023" + deep + "x", "2024" + deep + "x", deep + "x.csv"])
    found = datasets_in(tree_of(keys).close())
    assert {path: one.count for path, one in found.items()} == {"": 2, deep: 1}


class Keys:
    """A store in memory that lists as S3 does, in pages of so many keys."""

    def __init__(self, keys, page):
        self.keys, self.page = sorted(keys, key=str.encode), page

    def object_pages(self, path, start_after=""):
        keys = [key for key in self.keys if key.startswith(path.partition("/")[2]) and key > start_after]
        for first in range(0, len(keys), self.page):
            yield [
                {"Key": key, "Size": size_of(key), "LastModified": NOW - timedelta(days=len(key))}
                for key in keys[first : first + self.page]
            ]

    def call_s3(self, _, Bucket, Prefix, Delimiter):  # noqa: N803 - S3's names
        below = [key[len(Prefix) :] for key in self.keys if key.startswith(Prefix)]
        folders = dict.fromkeys(f"{Prefix}{key.partition(Delimiter)[0]}/" for key in below if Delimiter in key)
        beside = [f"{Prefix}{key}" for key in below if Delimiter not in key]
        return {"CommonPrefixes": [{"Prefix": one} for one in folders], "Contents": [{"Key": one} for one in beside]}


def figures_of(root):
    return {
        path: (
            one.kind, one.is_ours, one.has_hint, one.log, one.count, one.bytes, one.direct, one.markers, one.columns,
            one.data.partitions, one.data.first_end, one.stems is None,
            {name: tuple(numbers) for name, numbers in one.data.formats.items()},
            {name: tuple(numbers) for name, numbers in one.beside.formats.items()},
            {(name, *cell): one.count for name, cells in one.data.by_window.items() for cell, one in cells.items()},
            {cell: amount.bytes for cell, amount in one.data.by_change.items()},
        )
        for path, one in datasets_in(root).items()
    }  # fmt: skip


@settings(max_examples=50)
@given(keys, st.integers(1, 4), st.sampled_from(["", "a/"]))
@example(["a/x.csv", "b/x.csv", "c/x.csv", "x=/", f"x=/_delta_log/{0:020}.json", "x=/x.parquet"], 1, "")
def test_a_listing_in_parts_has_the_figures_of_a_serial_one(keys, page, prefix):
    place = Place("b", prefix)
    serial = FolderTree(NOW)
    for entries in Keys(keys, max(len(keys), 1)).object_pages(place.path):
        serial.add_page(entries, prefix)
    in_parts = listed(
        Keys(keys, page), place, Budget(None, None, lambda: 0.0), now=NOW, steps=(BILLED_LEAST,), has_versions=False,
        progress=lambda _: None,
    )  # fmt: skip
    assert (in_parts.objects, in_parts.gaps) == (serial.count, ())
    assert figures_of(in_parts.root) == figures_of(serial.close())
