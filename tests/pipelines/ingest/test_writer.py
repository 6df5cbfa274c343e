"""The writer's work is linear in batches and partitions, its memory bounded, and what fails leaves no file open."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tierlake.connector import LakeFileSystem
from tierlake.connector.errors import AccessDenied
from tierlake.pipelines.ingest import staging, writer
from tierlake.pipelines.ingest.duplicates import unique_batches
from tierlake.pipelines.ingest.parquet_file import FileEncoder, LocalFile
from tierlake.pipelines.ingest.partitioner import Run
from tierlake.pipelines.ingest.spill import append_rows, gathered, spooled_batches
from tierlake.pipelines.ingest.writer import PartitionedWriter, WriterLimits
from tierlake.pipelines.model.partition_key import PartitionKey
from tierlake.pipelines.model.spec import DatasetSpec, WriteSpec
from tierlake.pipelines.sources import SourceBatch
from tierlake.pipelines.tables.delta import LakeDeltaTable
from tierlake.pipelines.tables.plain import PlainParquetTable

SCHEMA = pa.schema([("v", pa.int64())])
TIGHT = WriterLimits(memory_bytes=1, uploads=2)


def rows(*values: int) -> pa.Table:
    return pa.table({"v": pa.array(values, pa.int64())})


def key(number: int) -> PartitionKey:
    return PartitionKey.of([("n", str(number))])


def plain_writer(limits: WriterLimits = TIGHT, **options: Any) -> PartitionedWriter:
    """Of a plain table: its files stay on disk until the commit."""
    fs = LakeFileSystem(endpoint_url="http://127.0.0.1:9", key="k", secret="s", profile="seaweedfs")
    table = PlainParquetTable(fs, "b/t", ("n",))
    return PartitionedWriter(fs, table, WriteSpec(**options), SCHEMA, "token", limits)


def steps_of(work: Callable[[], object]) -> int:
    """Calls of functions, ours and the libraries', in this thread and in those that it starts."""
    counts: Counter[int] = Counter()

    def note(_frame: object, event: str, _argument: object) -> None:
        counts[threading.get_ident()] += event in {"call", "c_call"}

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return counts.total()


def open_below(folder: Path) -> list[str]:
    """Files below a folder that this process has open."""
    names = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            names.append(str(descriptor.readlink()))
    return [name for name in names if name.startswith(str(folder))]


def test_small_batches_are_put_together_in_linear_steps() -> None:
    def together(count: int) -> int:
        batches = [pa.RecordBatch.from_pydict({"v": [number]}) for number in range(count)]
        return steps_of(lambda: list(gathered(batches, rows=1 << 20, size=1 << 30)))

    assert together(2000) <= 2.5 * together(1000)


def test_gathered_rows_are_in_order_and_bounded() -> None:
    batches = [pa.RecordBatch.from_pydict({"v": list(range(start, start + 3))}) for start in range(0, 30, 3)]
    tables = list(gathered([batches[0].slice(0, 0), *batches], rows=7, size=1 << 20))
    assert [table.num_rows for table in tables] == [6] * 5
    assert pa.concat_tables(tables).column("v").to_pylist() == list(range(30))
    assert [table.num_rows for table in gathered(batches, rows=100, size=1)] == [3] * 10


def test_many_spooled_batches_are_few_row_groups() -> None:
    """500 batches of one row each, each in a stream of its own on disk."""
    with plain_writer(WriterLimits(memory_bytes=1 << 20, uploads=1), row_group_rows=200) as writing:
        writing._limits = WriterLimits(memory_bytes=1, uploads=1)
        for number in range(500):
            writing.add(key(0), rows(number))
        writing._limits = WriterLimits(memory_bytes=1 << 20, uploads=1)
        (staged,) = writing.finish()
        file = pq.ParquetFile(staged.local)
        assert [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)] == [200, 200, 100]
        assert file.read().column("v").to_pylist() == list(range(500))
        file.close()


def test_closing_a_spool_looks_at_no_more_than_are_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """It looked at all files of the ingest, for each."""
    real_wait, real_done = futures.wait, futures.Future.done
    waits = [
        module
        for name, module in sys.modules.items()
        if name.startswith("tierlake.pipelines") and hasattr(module, "wait")
    ]

    def looked_at(partitions: int) -> int:
        looks: list[int] = []

        def waiting(some: Any, **options: Any) -> Any:
            assert len(some) <= TIGHT.uploads + 1
            looks.append(len(some))
            return real_wait(some, **options)

        def done(future: futures.Future[Any]) -> bool:
            looks.append(1)
            return real_done(future)

        for module in waits:
            monkeypatch.setattr(module, "wait", waiting)
        monkeypatch.setattr(futures.Future, "done", done)
        with plain_writer() as writing:
            for number in range(partitions):
                writing.add(key(number), rows(number))
            assert len(writing.finish()) == partitions
        return sum(looks)

    assert looked_at(80) <= 2.5 * max(looked_at(40), 40 * TIGHT.uploads)


def test_bad_rows_wait_for_good_ones_no_longer_than_a_batch() -> None:
    """A source of nothing but bad rows was in memory as a whole."""
    nothing = pa.RecordBatch.from_pydict({"v": pa.array([], pa.int64())})
    bad = pa.table({"reason": ["x"] * 1000})
    groups = list(staging._gathered(SourceBatch(nothing, bad) for _ in range(400)))
    assert sum(table.num_rows for _, tables in groups for table in tables) == 400_000
    assert max(sum(table.num_rows for table in tables) for _, tables in groups) <= staging._ROWS


# -- what fails leaves nothing open -----------------------------------------------------------------------------------


def test_a_reader_of_a_spool_that_stops_early(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    for number in range(3):
        append_rows(spool, rows(number, number))
    with closing(spooled_batches(spool)) as batches:
        assert next(batches).num_rows == 2
        assert open_below(tmp_path)
    assert not open_below(tmp_path)
    with closing(unique_batches(spool, ["v"])) as unique:
        assert next(unique).num_rows == 1
    assert not open_below(tmp_path)


@pytest.mark.parametrize("is_small", [True, False])
@pytest.mark.parametrize("spooled", [True, False])
def test_rows_that_cannot_be_encoded(monkeypatch: pytest.MonkeyPatch, spooled: bool, is_small: bool) -> None:
    limits = TIGHT if spooled else WriterLimits(uploads=2)

    def broken(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", broken)
    monkeypatch.setattr(writer, "_SMALL_BYTES", 1 << 20 if is_small else 0)
    with plain_writer(limits) as writing:
        folder = writing._folder.new_path().parent
        for number in range(4):
            writing.add(key(number), rows(number))
        with pytest.raises(OSError, match="No space left") as caught:
            writing.finish()
        writing.__exit__(None, None, None)
        assert not open_below(folder), "while the error is held, and its frames with it"
        assert caught.value is not None


def test_a_file_that_cannot_be_begun(tmp_path: Path) -> None:
    encoder = FileEncoder(SCHEMA, WriteSpec().model_copy(update={"compression": "zip"}))
    with pytest.raises(Exception, match=r"[Cc]odec|[Cc]ompression"):
        LocalFile(tmp_path / "x", encoder, 1, frozenset())
    assert not open_below(tmp_path)


def test_the_source_is_closed_where_its_rows_cannot_be_taken(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_text("1\n2\n")

    def reading() -> Iterator[SourceBatch]:
        with source.open() as lines:
            for line in lines:
                yield SourceBatch(pa.RecordBatch.from_pydict({"v": [int(line)]}))

    class Intake:
        is_text = False

        def take(self, *_: object) -> None:
            raise ValueError("these rows cannot be taken")

    batches = reading()
    next(batches)
    assert open_below(tmp_path)
    writing = plain_writer()
    handle: Any = SimpleNamespace(fs=writing._fs, table=writing._table, spec=DatasetSpec(uri="lake://b/t"))
    intake: Any = Intake()
    taken = staging.Staging(intake, SCHEMA, "token", "source")
    with writing, pytest.raises(ValueError, match="cannot be taken"):
        staging.stage(handle, taken, batches, writing)
    assert not open_below(tmp_path)


def test_where_a_file_cannot_be_sent_the_others_are_not_tried(
    fs: LakeFileSystem, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    async def refused(operation: str, *_: Any, **parameters: Any) -> None:
        tried.append(operation)
        raise AccessDenied("no", bucket=bucket, key=parameters["Key"])

    partitions = 500
    table = LakeDeltaTable(fs, f"{bucket}/refused")
    with PartitionedWriter(fs, table, WriteSpec(), SCHEMA, "token") as writing:
        for number in range(partitions):
            writing.add(key(number), rows(number))
        monkeypatch.setattr(fs.store.gateway, "call", refused)
        with pytest.raises(AccessDenied):
            writing.finish()
    assert 0 < len(tried) < partitions


# -- memory and steps -------------------------------------------------------------------------------------------------


def test_steps_are_linear_in_batches_and_partitions() -> None:
    """In all threads: the sorting, encoding and spooling ones as well."""

    def written(batches: int, partitions: int) -> int:
        table = rows(*range(partitions))
        runs = [Run(key(number), number, 1) for number in range(partitions)]

        def work() -> None:
            with plain_writer(WriterLimits(memory_bytes=1 << 14)) as writing:
                for _ in range(batches):
                    writing.add_runs(table, runs)
                assert len(writing.finish()) == partitions

        return steps_of(work)

    written(2, 2)
    assert written(40, 20) <= 2.5 * written(20, 20)
    assert written(20, 40) <= 2.5 * written(20, 20)


@pytest.mark.parametrize("kib", [64, 256])
def test_rows_and_files_in_memory_stay_within_the_limit(
    fs: LakeFileSystem, bucket: str, monkeypatch: pytest.MonkeyPatch, kib: int
) -> None:
    """Twice the rows hold no more; the rows are those that came, in order."""
    table = LakeDeltaTable(fs, f"{bucket}/held")
    limits = WriterLimits(memory_bytes=kib << 10, uploads=2, requests=4)
    held: list[int] = []
    noting = partial(_note_held, held)
    batch = pa.table({"v": pa.array(range(1000), pa.int64())})
    runs = [Run(key(number), number * 50, 50) for number in range(20)]
    spec = WriteSpec(compression="none")
    for batches in (100, 200):
        with PartitionedWriter(fs, table, spec, SCHEMA, f"token{batches}", limits) as writing:
            monkeypatch.setattr(fs.store.gateway, "call", noting(writing, fs.store.gateway.call))
            for _ in range(batches):
                writing.add_runs(batch, runs)
                held.append(writing.held_bytes)
            staged = writing.finish()
            monkeypatch.undo()
            assert writing.held_bytes == 0
        assert sum(one.file.rows or 0 for one in staged) == batches * 1000
        first = next(one for one in staged if one.file.key == key(3))
        content = pa.BufferReader(fs.cat_file(f"{bucket}/held/{first.file.path}"))
        assert pq.read_table(content).column("v").to_pylist() == [*range(150, 200)] * batches
    assert max(held) <= limits.memory_bytes


def _note_held(held: list[int], writing: PartitionedWriter, call: Any) -> Any:
    async def noted(operation: str, *options: Any, **parameters: Any) -> Any:
        held.append(writing.held_bytes)
        return await call(operation, *options, **parameters)

    return noted


def test_a_small_partition_is_one_request_and_no_file_on_disk(fs: LakeFileSystem, bucket: str) -> None:
    table = LakeDeltaTable(fs, f"{bucket}/small")
    with PartitionedWriter(fs, table, WriteSpec(), SCHEMA, "token") as writing:
        writing.add(key(1), rows(1, 2, 3))
        writing.add(key(1), rows(4))
        (staged,) = writing.finish()
        assert writing._folder._folder is None
    assert (staged.local, staged.file.rows) == (None, 4)
    assert fs.size(f"{bucket}/small/{staged.file.path}") == staged.file.size
    assert fs.encryption_faults([f"{bucket}/small/{staged.file.path}"]) == {}


def test_small_and_large_partitions_are_the_same_files(
    fs: LakeFileSystem, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Encoded in memory or on disk, from rows in memory or from a spool: the same bytes."""
    numbers = pa.table({"v": pa.array([5.0, float("nan"), None, 1.0] * 100), "s": ["b", "a", None, "c"] * 100})
    spec = WriteSpec(sort_by=("s",), row_group_rows=150, bloom_filters=("s",))
    contents = set()
    for name, limits, small in (
        ("memory", WriterLimits(), 1 << 20),
        ("disk", WriterLimits(), 0),
        ("spooled", WriterLimits(memory_bytes=1 << 13, uploads=1), 1 << 20),
    ):
        monkeypatch.setattr(writer, "_SMALL_BYTES", small)
        table = LakeDeltaTable(fs, f"{bucket}/{name}")
        with PartitionedWriter(fs, table, spec, numbers.schema, "token", limits) as writing:
            for start in range(0, 400, 40):
                writing.add(key(1), numbers.slice(start, 40))
            (staged,) = writing.finish()
        contents.add((fs.cat_file(f"{bucket}/{name}/{staged.file.path}"), staged.file.stats))
    assert len(contents) == 1
    ((content, stats),) = contents
    footer = pq.read_metadata(pa.BufferReader(content))
    assert footer.num_row_groups == 3
    assert footer.row_group(0).column(0).statistics is None
    assert stats is not None
    assert '"v"' not in stats
