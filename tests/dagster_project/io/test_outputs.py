"""What an asset returns, as one stream: what is lazy stays so, one item at a time, and nothing changes its value."""

from __future__ import annotations

import re
import weakref
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tierlake.dagster_project.io.outputs import source_of
from tierlake.pipelines.errors import SourceError
from tierlake.pipelines.sources import RowStream

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def opened(obj: object, known: pa.Schema | None = None) -> RowStream:
    stream = source_of(obj, lambda: known)
    assert isinstance(stream, RowStream)
    return stream


def table(stream: RowStream) -> pa.Table:
    names = stream.schema.names
    return pa.Table.from_batches([batch.rows.select(names) for batch in stream.batches])


@pytest.mark.parametrize(
    "obj", [pa.table({"a": [1]}), pd.DataFrame({"a": [1]}), pl.DataFrame({"a": [1]}), "a.csv", ["a.csv"]]
)
def test_what_an_ingest_takes_is_handed_on(obj: Any) -> None:
    assert source_of(obj, lambda: pytest.fail("nobody needs the table's columns")) is obj


def test_what_a_generator_yields_is_opened_in_its_turn_and_let_go() -> None:
    """A frame is gone before the one after the next is made."""
    made: list[weakref.ref[Any]] = []

    def frames() -> Iterator[pd.DataFrame]:
        for number in range(6):
            assert sum(one() is not None for one in made) <= 2
            frame = pd.DataFrame({"n": [number] * 3})
            made.append(weakref.ref(frame))
            yield frame
            del frame

    stream = opened(frames())
    assert len(made) == 1
    total = 0
    for batch in stream.batches:
        total += batch.rows.column("n").to_pylist()[0]
        del batch
    assert (total, len(made)) == (15, 6)


def test_one_generator_may_yield_any_rows(tmp_path: Path) -> None:
    rows = pa.table({"n": [1], "at": [datetime(2013, 1, 1, tzinfo=UTC)]})
    path = tmp_path / "a.parquet"
    pq.write_table(rows, path)
    items = [rows, rows.to_pandas(), pl.from_arrow(rows), pl.from_arrow(rows).lazy(), rows.to_batches()[0], str(path)]
    stream = opened(iter([*items, path, rows.to_reader(), rows.select(["at", "n"])]))
    assert table(stream).to_pydict() == {"n": [1] * 9, "at": [datetime(2013, 1, 1, tzinfo=UTC)] * 9}


def test_text_files_are_read_by_the_types_of_the_first(tmp_path: Path) -> None:
    for name, text in {"a": "n,s\n1,x\n", "b": "s,n\ny,2.5\n"}.items():
        (tmp_path / f"{name}.csv").write_text(text)
    stream = opened(iter(sorted(tmp_path.glob("*.csv"))))
    assert (stream.is_text, stream.schema.field("n").type) == (True, pa.int64())
    assert table(stream).to_pydict() == {"n": ["1", "2.5"], "s": ["x", "y"]}  # 2.5 becomes a reject, with its reason


@pytest.mark.parametrize(
    ("first", "later", "known", "kind"),
    [
        (pa.int64(), pa.int32(), None, pa.int64()),
        (pa.int64(), pa.float64(), None, pa.int64()),
        (pa.null(), pa.int64(), pa.int64(), pa.int64()),
        (pa.int32(), pa.int64(), pa.int64(), pa.int64()),
        (pa.int64(), pa.float64(), pa.float64(), pa.float64()),
        (pa.int64(), pa.null(), None, pa.int64()),
    ],
)
def test_a_type_that_holds_the_same_values_is_taken(
    first: pa.DataType, later: pa.DataType, known: pa.DataType | None, kind: pa.DataType
) -> None:
    values = [None if pa.types.is_null(one) else 7 for one in (first, later)]
    items = [pa.table({"n": pa.array([value], one)}) for value, one in zip(values, (first, later), strict=True)]
    stream = opened(iter(items), pa.schema([("n", known)]) if known else None)
    rows = table(stream)
    assert (rows.schema.field("n").type, rows["n"].to_pylist()) == (kind, values)


@pytest.mark.parametrize(
    ("first", "later"),
    [
        (pa.array([1]), pa.array([2.5])),
        (pa.array([1.0], pa.float32()), pa.array([0.1])),
        (pa.array([1]), pa.array(["2"])),
        (pa.array(["x"]), pa.array([2])),
        (pa.array([None]), pa.array([2])),
        (pa.array([True]), pa.array([2])),
        (pa.array([0], pa.timestamp("s")), pa.array([1], pa.timestamp("us"))),
    ],
)
def test_a_type_that_does_not_is_an_error_that_names_the_column(first: pa.Array, later: pa.Array) -> None:
    stream = opened(iter([pa.table({"n": first}), pa.table({"n": later})]))
    with pytest.raises(
        SourceError,
        match=re.escape(f"column n is {later.type} in item 2 of the source, and {first.type} in the table"),
    ):
        table(stream)


def test_a_clocks_time_is_no_instant() -> None:
    instants = pa.schema([("at", pa.timestamp("us", "UTC"))])
    naive = pa.table({"at": pa.array([datetime(2013, 7, 4, 12)], pa.timestamp("us"))})  # noqa: DTZ001 - that is the point
    assert opened(iter([naive]), instants).schema.field("at").type == pa.timestamp("us"), (
        "as an eager frame's, refused later"
    )
    aware = naive.cast(instants)
    for items, known in (([aware, naive], None), ([naive, aware], None), ([aware, naive], instants)):
        with pytest.raises(SourceError, match=r"column at is timestamp.* in item 2 of the source"):
            table(opened(iter(items), known))
    with pytest.raises(SourceError, match="column at is date32"):
        table(opened(iter([aware, pa.table({"at": pa.array([datetime(2013, 7, 4, tzinfo=UTC).date()])})])))


def test_a_dict_of_paths_is_rows(tmp_path: Path) -> None:
    for day in (1, 2):
        (tmp_path / f"{day}.csv").write_text(f"n\n{day}\n")
    stream = opened({"2013-01-01": str(tmp_path / "1.csv"), "2013-01-02": tmp_path / "2.csv"})
    assert table(stream).column("n").to_pylist() == ["1", "2"]


@pytest.mark.parametrize(
    ("items", "why"),
    [
        ([], "yielded nothing, not even a schema"),
        ([None], "yields a NoneType as item 1"),
        ([pa.table({"a": [1]}), {"a": 1}], "yields a dict as item 2"),
        ([pa.table({"a": [1]}), pa.table({"b": [1]})], "item 2 of the source lacks a and also has b, unlike the first"),
        ([object()], "cannot ingest a object"),
    ],
)
def test_what_is_no_rows_is_an_error_that_counts(items: list[Any], why: str) -> None:
    with pytest.raises(SourceError, match=why):
        table(opened(iter(items)))


def test_an_error_of_the_generator_stays_its_own() -> None:
    def frames() -> Iterator[pa.Table]:
        yield pa.table({"a": [1]})
        raise KeyError("the API's own")

    with pytest.raises(KeyError, match="the API's own"):
        table(opened(frames()))


def test_a_lazy_frame_is_executed_while_its_rows_are_read() -> None:
    asked: list[int] = []

    def doubled(frame: pl.DataFrame) -> pl.DataFrame:
        asked.append(len(frame))
        return frame.with_columns(pl.col("n") * 2)

    lazy = pl.LazyFrame({"n": range(300_000)}).map_batches(doubled, schema={"n": pl.Int64}, streamable=True)
    stream = opened(lazy)
    assert asked == []
    rows = table(stream)
    assert (rows.num_rows, rows["n"].to_pylist()[-1]) == (300_000, 599_998)


def test_lazy_frames_by_key_and_generators_by_key_are_one_stream() -> None:
    lazy = {key: pl.LazyFrame({"n": [number]}) for number, key in enumerate(("a", "b"))}
    assert table(opened(lazy))["n"].to_pylist() == [0, 1]
    mixed = {"a": iter([pa.table({"n": [1]}), pa.table({"n": [2]})]), "b": pa.table({"n": [3]})}
    assert table(opened(mixed))["n"].to_pylist() == [1, 2, 3]


def test_python_objects_in_a_lazy_frame_are_refused() -> None:
    lazy = pl.LazyFrame({"o": pl.Series([object()], dtype=pl.Object)})
    with pytest.raises(SourceError, match="column o of the LazyFrame holds Python objects"):
        opened(lazy)


def test_a_dask_frame_comes_a_partition_at_a_time() -> None:
    dd = pytest.importorskip("dask.dataframe")
    frame = dd.from_pandas(pd.DataFrame({"n": range(10)}), npartitions=3)
    stream = opened(frame)
    assert [batch.rows.num_rows for batch in stream.batches] == [4, 3, 3]
