"""Blocking verbs answer from the caches in the calling thread, and as the asynchronous ones would."""

from __future__ import annotations

import contextlib

import pyarrow.dataset as ds
import pyarrow.fs
import pytest
from fsspec.asyn import sync

from tests.observed import recording
from tierlake.connector.listing import answers
from tierlake.connector.listing.views import register_view, unregister_view

KEYS = ("a", "t/d=1/x.parquet", "t/d=1/y", "t/d=2/x.parquet", "t/both", "t/both/x", "t/marker/", "t/dots.d/x")
PATHS = (*KEYS, "t", "t/", "t/d=1", "t/d=3", "t/d=1/none", "none", "t/marker", "t/dots.d", "t/d=1/x.parquet/y", "")
VERBS = ("info", "isfile", "isdir", "exists")


def outcome(call):
    """An answer, or the error; a folder's class depends on who answers, and on what was asked before."""
    try:
        answer = call()
        return {name: answer[name] for name in ("name", "type", "size")} if isinstance(answer, dict) else answer
    except Exception as error:  # noqa: BLE001 -- compared
        return type(error), str(error)


@pytest.fixture
def filled(make_fs, server, bucket):
    for key in KEYS:
        if key != "t/both" or server.name != "minio":  # there it would hide what is below
            server.admin.put_object(Bucket=bucket, Key=key, Body=b"" if key.endswith("/") else b"1")
    return make_fs(view_freshness=60)


def visits(fs, bucket):
    yield "nothing", lambda: None
    yield "ls", lambda: fs.ls(f"{bucket}/t")
    yield "find", lambda: fs.find(f"{bucket}/t")
    yield "info", lambda: [outcome(lambda path=path: fs.info(f"{bucket}/{path}")) for path in PATHS]
    yield "forgotten", fs.invalidate_cache


@pytest.mark.each_value
def test_a_verb_and_its_asynchronous_form_agree(filled, bucket):
    for visit, act in visits(filled, bucket):
        act()
        for verb in VERBS:
            for path in PATHS:
                name = f"{bucket}/{path}"
                quick = outcome(lambda name=name, verb=verb: getattr(filled, verb)(name))
                asked = outcome(lambda name=name, verb=verb: sync(filled.loop, getattr(filled, f"_{verb}"), name))
                assert quick == asked, (visit, verb, path)


def test_what_is_cached_is_answered_in_this_thread(filled, bucket, monkeypatch):
    filled.find(f"{bucket}/t")
    filled.info(f"{bucket}/t")

    def hop(*_args, **_kwargs):
        raise AssertionError("the event loop was asked")

    monkeypatch.setattr(answers, "sync", hop)
    assert filled.info(f"{bucket}/t/d=1/x.parquet")["size"] == 1
    assert filled.isfile(f"{bucket}/t/d=1/y")
    assert filled.exists(f"lake://{bucket}/t/d=2/x.parquet")
    assert filled.isdir(f"{bucket}/t")
    assert not filled.isfile(f"{bucket}/t")


def count_heads(fs, monkeypatch):
    heads, request = [], fs.store.gateway._transport.request

    async def counting(operation, params, *rest, **more):
        heads.extend([params["Key"]] if operation == "head_object" else [])
        return await request(operation, params, *rest, **more)

    monkeypatch.setattr(fs.store.gateway._transport, "request", counting)
    return heads


@pytest.mark.parametrize("observed", [contextlib.nullcontext, recording])
def test_arrow_asks_the_store_for_no_file_that_it_opens_next(make_fs, server, bucket, monkeypatch, observed):
    """Its question comes before each `open`, long after the listing."""
    fs = make_fs(view_freshness=0)
    server.admin.put_object(Bucket=bucket, Key="t/x", Body=b"1")
    heads, opened = count_heads(fs, monkeypatch), []
    monkeypatch.setattr(type(fs), "open", lambda self, path, mode: opened.append((path, list(heads))) or _nothing())
    handler = pyarrow.fs.FSSpecHandler(fs)
    with observed():
        handler.open_input_file(f"{bucket}/t/x")
        handler.open_input_stream(f"{bucket}/t/none")
    assert opened == [(f"{bucket}/t/x", []), (f"{bucket}/t/none", [])]
    assert fs.isfile(f"{bucket}/t/x")
    assert not fs.isfile(f"{bucket}/t/none")
    assert heads, "others are told the truth"


def _nothing():
    import io

    return io.BytesIO()


def test_arrow_is_told_of_files_that_are_missing_and_of_folders(fs, server, bucket):
    server.admin.put_object(Bucket=bucket, Key="t/d/x", Body=b"1")
    arrow = pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(fs))
    for path in ("t/none", "t/d", "t", "t/d/"):
        for opening in (arrow.open_input_file, arrow.open_input_stream):
            with pytest.raises(FileNotFoundError, match=f"{bucket}/{path.rstrip('/')}"):
                opening(f"{bucket}/{path}")
    with pytest.raises((FileNotFoundError, OSError)):
        arrow.open_input_file(bucket)
    with pytest.raises(FileNotFoundError, match="t/none"):
        ds.dataset(f"{bucket}/t/none", filesystem=fs)


class Table:
    """A table of one committed file, which is not the one that is there."""

    marker, description, proofs, hidden = "_mine/", "", (), ("_mine",)
    version = 1

    def describes(self, _description):
        return False

    def open(self, _fs, root):
        self.root = root
        return self

    def files(self):
        return {"d=1/x": 7}


def test_inside_a_table_the_table_answers(make_fs, server, bucket, monkeypatch):
    for key in ("t/_mine/0", "t/d=1/x", "t/d=1/stray"):
        server.admin.put_object(Bucket=bucket, Key=key, Body=b"1")
    register_view("mine", Table())
    try:
        fs = make_fs(view_freshness=60)
        assert fs.find(f"{bucket}/t") == [f"{bucket}/t/d=1/x"]
        heads = count_heads(fs, monkeypatch)
        assert fs.info(f"{bucket}/t/d=1/x")["size"] == 7
        assert fs.isdir(f"{bucket}/t/d=1")
        assert not fs.isdir(f"{bucket}/t/d=1/x")
        assert heads == []
        assert fs.isfile(f"{bucket}/t/d=1/stray"), "the store answers for what is not committed"
        assert heads == ["t/d=1/stray"]
    finally:
        unregister_view("mine")
