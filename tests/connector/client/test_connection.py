"""One client, one session and one pool of connections, however many filesystems and tables a process opens."""

from __future__ import annotations

import asyncio
import gc
import pickle
import weakref
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import aiohttp
import pytest
from aiobotocore.client import AioBaseClient
from aiobotocore.session import AioSession

from tierlake.connector import LakeFileSystem
from tierlake.connector.client.arguments import S3FS_OPTIONS
from tierlake.connector.client.connection import _CLIENT_OPTIONS
from tierlake.connector.errors import BadCredentials

HERE = {"endpoint_url": "http://127.0.0.1:9", "key": "pool", "secret": "s", "profile": "seaweedfs"}


@pytest.fixture
def made(monkeypatch) -> Counter[str]:
    """How many sessions, clients and pools this process has made."""
    made: Counter[str] = Counter()

    def count(kind: type) -> None:
        plain = kind.__init__

        def counted(self, *args, **kwargs):
            made[kind.__name__] += 1
            plain(self, *args, **kwargs)

        monkeypatch.setattr(kind, "__init__", counted)

    for kind in (AioSession, AioBaseClient, aiohttp.TCPConnector):
        count(kind)
    return made


def test_tables_use_one_client_and_one_pool(make_fs, bucket, made):
    fs = make_fs(connect_timeout=6.5)  # in a way that no other test reaches it
    tables = [fs.for_table(f"{bucket}/t{number}") for number in range(24)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda table: table.pipe_file(f"{table.table_root}/x", b"1"), tables))
        assert all(threads.map(lambda table: table.exists(f"{table.table_root}/x"), tables))
    assert made == {"AioSession": 1, "AioBaseClient": 1, "TCPConnector": 1}


@pytest.mark.parametrize("many", [80, 160])
def test_tables_that_nobody_uses_do_not_stay(make_offline, made, many):
    fs = make_offline(connect_timeout=float(many))  # as no other test does
    seen = [weakref.ref(fs.for_table(f"bucket/t{number}")) for number in range(many)]
    fs.for_table("bucket/t").connect()
    gc.collect()
    assert sum(table() is not None for table in seen) == 63
    assert made == {"AioSession": 1, "AioBaseClient": 1}


def test_a_table_in_use_is_made_once(make_offline):
    fs = make_offline()
    first = fs.for_table("bucket/first")
    for number in range(70):
        fs.for_table(f"bucket/t{number}")
    assert fs.for_table("bucket/first") is first


def test_what_differs_in_its_policy_alone_shares_a_client():
    kinds = [
        {},
        {"storage_class": "STANDARD_IA"},
        {"encryption": "none"},
        {"view_freshness": 9.0},
        {"table_root": "b/t"},
    ]
    filesystems = [LakeFileSystem(**HERE, **kind, skip_instance_cache=True) for kind in kinds]
    for fs in filesystems:
        fs.connect()
    assert len({id(fs.store.connection) for fs in filesystems}) == len({id(fs._s3) for fs in filesystems}) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"endpoint_url": "http://127.0.0.1:10"},
        {"key": "another"},
        {"secret": "another"},
        {"token": "t"},
        {"anon": True},
        {"region": "eu-west-1"},
        {"read_timeout": 7.0},
        {"config_kwargs": {"max_pool_connections": 3}},
        {"client_kwargs": {"verify": False}},
        {"session": AioSession()},
        {"asynchronous": True},
    ],
    ids=lambda other: next(iter(other)),
)
def test_what_reaches_the_store_in_another_way_does_not(other):
    one, two = (LakeFileSystem(**{**HERE, **options}, skip_instance_cache=True) for options in ({}, other))
    assert one.store.connection is not two.store.connection


def test_another_environment_is_another_client(monkeypatch):
    one = LakeFileSystem(endpoint_url=HERE["endpoint_url"], skip_instance_cache=True)
    monkeypatch.setenv("AWS_PROFILE", "another")
    two = LakeFileSystem(endpoint_url=HERE["endpoint_url"], skip_instance_cache=True)
    assert one.store.connection is not two.store.connection


def test_rewritten_credentials_are_those_of_whoever_comes_then(monkeypatch, tmp_path):
    """Who is there already stays what he is, as an open connection does."""
    file = tmp_path / "credentials"

    def written(key: str) -> None:
        file.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = s\n")

    for name in ("TIERLAKE_KEY", "TIERLAKE_SECRET", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    where = {"endpoint_url": HERE["endpoint_url"], "profile": HERE["profile"], "skip_instance_cache": True}
    written("BEFORE")
    before, beside = LakeFileSystem(**where), LakeFileSystem(**where)
    assert before.store.connection is beside.store.connection
    assert not before.credentials_are_renewed
    written("AFTERWARDS")
    after = LakeFileSystem(**where)
    assert after.store.connection is not before.store.connection
    assert before.for_table("b/t").store.connection is after.store.connection
    assert after.delta_options()["aws_access_key_id"] == "AFTERWARDS"


def test_refused_credentials_are_looked_up_anew_by_whoever_comes_then(server):
    """They may come from a program, of which nobody can tell whether it has others by now."""
    refused = {**server.storage_options, "secret": "refused", "skip_instance_cache": True}
    before = LakeFileSystem(**refused)
    assert LakeFileSystem(**refused).store.connection is before.store.connection
    with pytest.raises(BadCredentials):
        before.ls("")
    assert LakeFileSystem(**refused).store.connection is not before.store.connection


def test_the_client_goes_with_the_last_who_uses_it():
    fs = LakeFileSystem(**{**HERE, "key": "alone"}, skip_instance_cache=True)
    table, connection = fs.for_table("bucket/t"), weakref.ref(fs.store.connection)
    del fs
    gc.collect()
    assert connection() is table.store.connection
    del table
    gc.collect()
    assert connection() is None


def test_new_credentials_are_everybodys(make_offline):
    fs = make_offline()
    table = fs.for_table("bucket/t")
    fs.connect()
    before = table._s3
    assert before is fs._s3
    fs.connect(refresh=True)
    assert fs._s3 is table._s3 is not before


def test_a_pickled_tables_filesystem_is_its_parents_again():
    fs = LakeFileSystem(**HERE)
    table = fs.for_table("bucket/t", storage_class="STANDARD_IA")
    copy = pickle.loads(pickle.dumps(table))  # noqa: S301 -- our own bytes
    assert copy is table
    kept = len(LakeFileSystem._cache)
    for number in range(3):
        pickle.loads(pickle.dumps(fs.for_table(f"bucket/t{number}")))  # noqa: S301
    assert len(LakeFileSystem._cache) == kept


def test_an_event_loop_of_ones_own_has_a_client_of_its_own(server, bucket):
    async def use() -> tuple[object, object]:
        fs = LakeFileSystem(**server.storage_options, asynchronous=True, skip_instance_cache=True)
        session = await fs.set_session()
        try:
            await fs._pipe_file(f"{bucket}/x", b"1")
            return fs.store.connection, await fs._cat_file(f"{bucket}/x")
        finally:
            await session.close()

    first, second = asyncio.run(use()), asyncio.run(use())
    assert first[0] is not second[0]
    assert first[1] == second[1] == b"1"


def test_each_argument_concerns_the_client_or_is_known_not_to():
    """One that did, and were not looked at, would be another filesystem's."""
    others = {
        "asynchronous",  # never shared
        "default_block_size",
        "default_cache_type",
        "default_fill_cache",
        "fixed_upload_size",
        "listings_expiry_time",
        "local_expiry_check",
        "max_concurrency",
        "max_paths",
        "requester_pays",
        "s3_additional_kwargs",
        "use_listings_cache",
        "version_aware",
    }
    assert S3FS_OPTIONS - set(_CLIENT_OPTIONS) == others


def test_closing_the_session_of_one_leaves_the_others(make_fs, bucket):
    fs, other = make_fs(connect_timeout=7.5), make_fs(connect_timeout=7.5, version_aware=True)
    fs.pipe_file(f"{bucket}/x", b"1")
    client = fs._s3
    assert other._s3 is client
    other.close_session(other.loop, other._s3)
    assert (
        not client._endpoint.http_session._session.closed
        if hasattr(client._endpoint.http_session, "_session")
        else True
    )
    assert (fs.cat_file(f"{bucket}/x"), fs._s3) == (b"1", client)


def test_a_blocking_verb_needs_a_loop_that_runs():
    fs = LakeFileSystem(asynchronous=True, skip_instance_cache=True, **HERE)
    with pytest.raises(RuntimeError, match="asynchronous=True"):
        fs.head_many(["bucket/x"])
    with pytest.raises(RuntimeError, match="asynchronous=True"):
        list(fs.transition_many([]))
