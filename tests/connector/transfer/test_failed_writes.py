"""An error inside a `with` leaves the object as it was, and no parts, whatever stands between it and the file."""

from __future__ import annotations

import contextlib
import gc
import gzip
import io
import pickle
import random

import fsspec
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from pyarrow.fs import FSSpecHandler, PyFileSystem

from tests.faults.answers import Refusal
from tests.faults.proxy import Proxy
from tierlake.connector.errors import AccessDenied, LakeError
from tierlake.connector.transfer.writing_file import WritingFile

pytestmark = pytest.mark.usefixtures("engine")

MIB = 2**20
PART = 5 * MIB
OLD = b"what was there before"
FRAME = pd.DataFrame({"x": ["a", "b"]})


class WorkFailed(Exception):
    """The user's own."""


class Unwritable:
    def __str__(self):
        raise WorkFailed

    def __reduce__(self):
        raise WorkFailed


def fail():
    raise WorkFailed


def fail_in(opened, data):
    with opened as file:
        file.write(data)
        raise WorkFailed


def in_binary(fs, path):
    fail_in(fs.open(path, "wb"), b"half")


def in_text(fs, path):
    fail_in(fs.open(path, "w"), "half")


def in_many_parts(fs, path):
    fail_in(fs.open(path, "wb", block_size=PART), b"x" * (PART + MIB))


def in_text_of_many_parts(fs, path):
    fail_in(fs.open(path, "wt", block_size=PART), "x" * (PART + MIB))


def appending(fs, path):
    fail_in(fs.open(path, "ab"), b"half")


def compressing(fs, path):
    fail_in(fs.open(path, "wb", compression="gzip"), b"half")


def compressing_text(fs, path):
    fail_in(fs.open(path, "wt", compression="bz2"), "half")


def compressing_many_parts(fs, path):
    noise = random.Random(0).randbytes(7 * MIB)  # noqa: S311 -- what does not compress
    fail_in(fs.open(path, "wb", compression="gzip", block_size=PART), noise)


def by_fsspec_open(fs, path):
    fail_in(fsspec.open(f"lake://{path}", "wt", **fs.storage_options), "half")


def by_fsspec_open_compressing(fs, path):
    fail_in(fsspec.open(f"lake://{path}", "wb", compression="gzip", **fs.storage_options), b"half")


def on_an_exit_stack(fs, path):
    with contextlib.ExitStack() as stack:
        stack.enter_context(fs.open(path, "w")).write("half")
        raise WorkFailed


def by_closing(fs, path):
    fail_in(contextlib.closing(fs.open(path, "wb")), b"half")


def in_a_context_manager(fs, path):
    @contextlib.contextmanager
    def report():
        with fs.open(path, "wb") as file:
            yield file

    fail_in(report(), b"half")


def in_a_transaction(fs, path):
    with fs.transaction:
        fail_in(fs.open(path, "wb"), b"half")


def in_a_transaction_that_goes_on(fs, path):
    with fs.transaction, contextlib.suppress(WorkFailed):
        fail_in(fs.open(path, "wb", block_size=PART), b"x" * (PART + MIB))
    raise WorkFailed


def later_in_a_transaction(fs, path):
    with fs.transaction:
        with fs.open(path, "wb") as file:
            file.write(b"whole, and not to be")
        raise WorkFailed


def without_autocommit(fs, path):
    fail_in(fs.open(path, "wb", autocommit=False), b"half")


def pandas_csv(fs, path):
    pd.DataFrame({"x": ["a", Unwritable()]}).to_csv(f"lake://{path}", storage_options=fs.storage_options)


def pandas_csv_zipped(fs, path):
    frame = pd.DataFrame({"x": ["a", Unwritable()]})
    frame.to_csv(f"lake://{path}", storage_options=fs.storage_options, compression="gzip")


def pandas_pickle(fs, path):
    frame = pd.DataFrame({"x": [1]})
    frame.attrs["a"] = Unwritable()
    frame.to_pickle(f"lake://{path}", storage_options=fs.storage_options)


def pandas_csv_in_an_open_file(fs, path):
    with fs.open(path, "w") as file:
        pd.DataFrame({"x": ["a", Unwritable()]}).to_csv(file)


def arrow_table(fs, path):
    with pq.ParquetWriter(path, pa.schema({"x": pa.int64()}), filesystem=fs) as writer:
        writer.write_table(pa.table({"x": [1, 2]}))
        writer.write_table(pa.table({"y": [1, 2]}))


def arrow_stream(fs, path):
    fail_in(PyFileSystem(FSSpecHandler(fs)).open_output_stream(path), b"half")


def arrow_csv(fs, path):
    schema = pa.schema({"x": pa.int64()})
    with fs.open(path, "wb") as file, pyarrow.csv.CSVWriter(file, schema) as writer:
        writer.write_table(pa.table({"x": [1]}))
        raise WorkFailed


FAILING = {
    call.__name__: call
    for call in (
        in_binary,
        in_text,
        in_many_parts,
        in_text_of_many_parts,
        appending,
        compressing,
        compressing_text,
        compressing_many_parts,
        by_fsspec_open,
        by_fsspec_open_compressing,
        on_an_exit_stack,
        by_closing,
        in_a_context_manager,
        in_a_transaction,
        in_a_transaction_that_goes_on,
        later_in_a_transaction,
        without_autocommit,
        pandas_csv,
        pandas_csv_zipped,
        pandas_pickle,
        pandas_csv_in_an_open_file,
        arrow_table,
        arrow_stream,
        arrow_csv,
    )
}


def uploads(server, bucket, key="x"):
    return server.admin.list_multipart_uploads(Bucket=bucket, Prefix=key).get("Uploads", [])


@pytest.mark.parametrize("fail", FAILING)
def test_an_error_inside_leaves_what_was_there(fs, server, bucket, fail):
    for existing in (None, OLD):
        if existing is not None:
            server.admin.put_object(Bucket=bucket, Key="x", Body=existing)
        with pytest.raises((WorkFailed, ValueError, pickle.PicklingError)):
            FAILING[fail](fs, f"{bucket}/x")
        found = fs.cat_file(f"{bucket}/x") if server.keys(bucket) else None
        assert found == existing
        assert uploads(server, bucket) == []


@pytest.mark.parametrize("size", [3, 6 * MIB], ids=["rewritten", "copied as a part"])
def test_an_error_while_appending_leaves_what_was_there(fs, server, bucket, size):
    server.admin.put_object(Bucket=bucket, Key="x", Body=b"o" * size)
    with pytest.raises(WorkFailed):
        fail_in(fs.open(f"{bucket}/x", "ab", block_size=PART), b"x" * (6 * MIB))
    assert fs.cat_file(f"{bucket}/x") == b"o" * size
    assert uploads(server, bucket) == []


def test_a_file_for_appending_that_cannot_be_opened_is_no_empty_one(make_fs, server, bucket, monkeypatch):
    """It was closed when Python dropped it, and put an empty object over the one that it could not read."""
    server.admin.put_object(Bucket=bucket, Key="x", Body=OLD)
    fs = make_fs()

    def denied(path):
        raise AccessDenied(path)

    monkeypatch.setattr(fs, "cat", denied)
    with pytest.raises(AccessDenied):
        fs.open(f"{bucket}/x", "ab")
    assert server.admin.get_object(Bucket=bucket, Key="x")["Body"].read() == OLD


def written_while_handling(fs, path):
    try:
        fail()
    except WorkFailed:
        with fs.open(path, "w") as file:
            file.write("whole")


def closed_finally(fs, path):
    file = fs.open(path, "wb")
    with contextlib.suppress(WorkFailed):
        try:
            file.write(b"whole")
            fail()
        finally:
            file.close()


class Report:
    """Something that tells how the work ended."""

    def __init__(self, fs, path):
        self.file = fs.open(path, "w")

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.write("whole")
        self.file.close()


def reported_at_exit(fs, path):
    with contextlib.suppress(WorkFailed), Report(fs, path):
        raise WorkFailed


def after_a_suppressed_error(fs, path):
    with fs.open(path, "w") as file:
        with contextlib.suppress(WorkFailed):
            raise WorkFailed
        file.write("whole")


def by_a_generator(fs, path):
    def taking():
        with fs.open(path, "wb") as file:
            while True:
                file.write((yield))

    sink = taking()
    next(sink)
    sink.send(b"whole")
    sink.close()


def compressed_whole(fs, path):
    with fs.open(path, "wt", compression="gzip") as file:
        file.write("whole")
    data = gzip.decompress(fs.cat_file(path))
    fs.pipe_file(path, data)


def compressed_by_fsspec(fs, path):
    with fsspec.open(f"lake://{path}.gz", "wt", compression="infer", **fs.storage_options) as file:
        file.write("whole")
    fs.pipe_file(path, gzip.decompress(fs.cat_file(f"{path}.gz")))


GOOD = {
    "in an except clause": written_while_handling,
    "in a finally clause": closed_finally,
    "by an own exit": reported_at_exit,
    "after a suppressed error": after_a_suppressed_error,
    "by a generator that is closed": by_a_generator,
    "by one that drops the file": lambda fs, path: fs.open(path, "wb").write(b"whole"),
    "compressed": compressed_whole,
    "as fsspec compresses": compressed_by_fsspec,
}


@pytest.mark.parametrize("how", GOOD)
def test_a_close_that_is_written_out_means_what_it_says(fs, bucket, how):
    fs.pipe_file(f"{bucket}/x", OLD)
    GOOD[how](fs, f"{bucket}/x")
    assert fs.cat_file(f"{bucket}/x") == b"whole"


def test_a_discarded_file_cannot_be_committed(fs, bucket):
    file = fs.open(f"{bucket}/x", "wb", autocommit=False)
    with pytest.raises(WorkFailed):
        fail_in(file, b"half")
    with pytest.raises(ValueError, match="discarded"):
        file.commit()
    assert not fs.exists(f"{bucket}/x")


def test_a_transaction_writes_its_whole_files(fs, server, bucket):
    with fs.transaction:
        for name, data in (("a", b"1"), ("b", b""), ("c", b"x" * (PART + 1))):
            with fs.open(f"{bucket}/{name}", "wb", block_size=PART) as file:
                file.write(data)
        assert server.keys(bucket) == []
    assert [len(fs.cat_file(f"{bucket}/{name}")) for name in "abc"] == [1, 0, PART + 1]
    assert uploads(server, bucket, "") == []


def write_parts_regardless(fs, path):
    with fs.open(path, "wb", block_size=PART) as file:
        for _ in range(3):
            with contextlib.suppress(LakeError):
                file.write(b"x" * PART)


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["partNumber=2", "uploadId=", "POST"], ids=["a part", "all", "the end"])
def test_a_file_without_one_of_its_parts_is_none(server, make_fs, bucket, lost):
    """Whoever catches the error and goes on does not get a file with a hole."""
    server.admin.put_object(Bucket=bucket, Key="x", Body=OLD)

    def refuse(request):
        hit = (
            request.method == "POST" and "uploadId=" in request.target
            if lost == "POST"
            else (request.method == "PUT" and lost in request.target)
        )
        return Refusal("403 Forbidden", "AccessDenied") if hit else None

    with Proxy(server.endpoint_url, before=refuse) as proxy:
        fs = make_fs(endpoint_url=proxy.url)
        with pytest.raises((LakeError, ValueError)):
            write_parts_regardless(fs, f"{bucket}/x")
    assert server.admin.get_object(Bucket=bucket, Key="x")["Body"].read() == OLD
    assert uploads(server, bucket) == []


def test_what_is_dropped_by_arrow_is_not_whole(fs, server, bucket, monkeypatch):
    """Arrow drops the files that it has not finished; whoever writes through it closes them."""
    import pyarrow.dataset as ds

    server.admin.put_object(Bucket=bucket, Key="d/part-0.parquet", Body=OLD)

    begun, plain = [], WritingFile.write

    def watched(file, data):
        begun.append(file.path)
        return plain(file, data)

    monkeypatch.setattr(WritingFile, "write", watched)

    def batches():
        while not begun:
            yield pa.record_batch({"x": list(range(1000))})
        raise WorkFailed

    with pytest.raises(WorkFailed):
        ds.write_dataset(
            batches(),
            f"{bucket}/d",
            schema=pa.schema({"x": pa.int64()}),
            format="parquet",
            filesystem=fs,
            existing_data_behavior="overwrite_or_ignore",
            max_rows_per_group=1000,
            min_rows_per_group=1000,
        )
    gc.collect()
    assert server.keys(bucket) == ["d/part-0.parquet"]
    assert server.admin.get_object(Bucket=bucket, Key="d/part-0.parquet")["Body"].read() == OLD


def test_memory_is_let_go(fs, bucket):
    buffer = io.BytesIO()
    FRAME.to_parquet(buffer)
    with fs.open(f"{bucket}/x", "wb") as file:
        file.write(buffer.getvalue())
    assert file.closed
    assert file.buffer is None
