"""The requests of single calls outside of tables, written down: nothing is asked twice, and nothing that is known."""

from __future__ import annotations

import os

import fsspec
import pytest

from tests.ledger import recording

MIB = 2**20
FIRST_LOOK = [
    "1 GET x/_lake/dataset.json",
    "1 LIST /_delta_log/ one",
    "1 LIST x/_delta_log/ one",
]
"""Whether the bucket or the folder is a table: once in half a minute."""


@pytest.fixture(scope="session")
def server(seaweedfs):
    return seaweedfs


@pytest.fixture(scope="module")
def ledger(server, tmp_path_factory):
    with recording(server.endpoint_url, tmp_path_factory.mktemp("ledger")) as ledger:
        yield ledger


@pytest.fixture
def requests_of(server, ledger, bucket):
    """What a call asks with a filesystem that has asked for nothing yet, below `BUCKET/`."""

    def page(call) -> list[str]:
        options = {**server.storage_options, "endpoint_url": ledger.url, "default_block_size": MIB}
        fs = fsspec.filesystem("lake", skip_instance_cache=True, **options)
        ledger.turn_page()
        call(fs)
        return [line.replace(" /x", " x") for line in ledger.page(bucket, root="none")]

    return page


@pytest.fixture
def data(server, bucket) -> bytes:
    data = os.urandom(3 * MIB)
    server.admin.put_object(Bucket=bucket, Key="x/a.bin", Body=data)
    server.admin.put_object(Bucket=bucket, Key="x/empty.bin", Body=b"")
    return data


def test_a_download_begins_with_its_first_range(requests_of, bucket, data, tmp_path) -> None:
    def read(fs):
        assert fs.cat_file(f"{bucket}/x/a.bin") == data

    def get(fs):
        fs.get_file(f"{bucket}/x/a.bin", str(tmp_path / "a"))
        assert (tmp_path / "a").read_bytes() == data

    assert requests_of(read) == requests_of(get) == ["3 GET x/a.bin range"]


def test_an_object_of_one_range_takes_one_request(requests_of, server, bucket) -> None:
    server.admin.put_object(Bucket=bucket, Key="x/b.bin", Body=b"1" * MIB)
    assert requests_of(lambda fs: fs.cat_file(f"{bucket}/x/b.bin")) == ["1 GET x/b.bin range"]


def test_an_empty_object_has_no_range(requests_of, bucket, data) -> None:
    def read(fs):
        assert fs.cat_file(f"{bucket}/x/empty.bin") == b""

    assert requests_of(read) == ["1 GET x/empty.bin", "1 GET x/empty.bin range"]


def test_a_file_is_not_looked_at_as_a_table(requests_of, bucket, data) -> None:
    def read(fs):
        with fs.open(f"{bucket}/x/a.bin") as file:
            file.read(10)

    assert requests_of(read) == ["1 GET x/a.bin range"]


def test_a_listed_file_is_not_looked_at(requests_of, bucket, data) -> None:
    def read(fs):
        for path in fs.ls(f"{bucket}/x", detail=False):
            fs.info(path)

    assert requests_of(read) == sorted([*FIRST_LOOK, "1 LIST x/ names"], key=kind)


def test_a_folder_is_looked_at_once(requests_of, bucket, data) -> None:
    def look(fs):
        for _ in range(3):
            assert fs.info(f"{bucket}/x")["type"] == "directory"
            assert fs.isdir(f"{bucket}/x")

    assert requests_of(look) == sorted([*FIRST_LOOK, "1 HEAD x", "1 LIST x/ one names"], key=kind)


def test_a_folder_is_forgotten_with_what_was_in_it(fs, server, bucket) -> None:
    server.admin.put_object(Bucket=bucket, Key="x/y/a", Body=b"1")
    assert fs.isdir(f"{bucket}/x/y")
    assert fs.info(f"{bucket}/x/y")["type"] == "directory"
    fs.rm_file(f"{bucket}/x/y/a")
    assert not fs.exists(f"{bucket}/x/y")
    assert not fs.isdir(f"{bucket}/x/y")


def kind(line: str) -> str:
    return line.partition(" ")[2]
