"""What stands beside a table's files, where other writers of the bucket may have written it."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import Schema
from hypothesis import strategies as st

from tests.fuzz.case import Case
from tests.fuzz.mutations import json_mutations, mutated_bytes, mutated_lines, texts
from tests.fuzz.stored import AT, Stored
from tests.pipelines.conftest import trip_spec
from tests.pipelines.metastore.test_journal import a_record
from tierlake.pipelines.ingest import rejects, undetermined
from tierlake.pipelines.metastore import journal
from tierlake.pipelines.metastore.document import DatasetDocument, DocumentStore, Dropped, Hold
from tierlake.pipelines.metastore.folded import FoldedEvents
from tierlake.pipelines.metastore.records import (
    KINDS,
    EraseRecord,
    KeepingRecord,
    PolicyRecord,
    Record,
    RemovalRecord,
    TieringRecord,
    UndoRecord,
    VacuumRecord,
)
from tierlake.pipelines.model.partition_key import PartitionKey, spelled, typed
from tierlake.pipelines.model.spec_diff import FieldChange
from tierlake.pipelines.parquet import file_skipping
from tierlake.pipelines.tables import delta_changes, delta_log, footers, run_records, runs
from tierlake.pipelines.tables.change_times import ChangeTimes
from tierlake.pipelines.tables.delta_commit import commit_of_entry
from tierlake.pipelines.tables.lost_log import is_of_delta
from tierlake.pipelines.tables.paths import data_path
from tierlake.pipelines.tables.plain_schema import PlainSchema
from tierlake.pipelines.tables.states import delta_version

__all__ = ["CASES"]

ROOT = "lake/trips"
LOG = f"{ROOT}/_delta_log"
COMMIT = f"{LOG}/{1:020d}.json"
DOCUMENT = DatasetDocument(
    spec=trip_spec("lake"),
    holds={"date=2013-01-01": Hold(reason="audit", since=AT)},
    retains={"date=2013-01-02": AT},
    adopted_at=AT,
    dropped=Dropped(at=AT, record="removal", grace=timedelta(days=7)),
)
DESCRIPTION = json.loads(DOCUMENT.model_dump_json())
NAMED = {"id": "20140101T120000Z-000000-00000000", "at": AT}
RECORDS: tuple[Record, ...] = (
    a_record("date=2013-01-01"),
    UndoRecord(**NAMED, key="date=2013-01-01", removal="removal", files=1, bytes=1),
    EraseRecord(**NAMED, keys=("date=2013-01-01",), spoiled=("a.parquet?version",)),
    TieringRecord(**NAMED, as_of=AT, keys={"date=2013-01-01": "COLD"}, files=1, bytes=1),
    VacuumRecord(**NAMED, reason="old", files=1, bytes=1, ended={"removal": ("date=2013-01-01",)}),
    KeepingRecord(**NAMED, operation="retain", key="date=2013-01-01", until=AT),
    PolicyRecord(**NAMED, operation="apply", changes=(FieldChange(field="tiers", before="a", after="b"),)),
)
ACTIONS = (
    {"commitInfo": {"timestamp": 1_388_577_600_000, "operation": "WRITE", "lake.operation": "ingest"}},
    {"add": {"path": "d=1/x.parquet", "partitionValues": {"d": "1"}, "size": 1, "modificationTime": 1, "stats": "{}"}},
    {"remove": {"path": "d=1/y.parquet", "partitionValues": {"d": "1"}, "deletionTimestamp": 1, "dataChange": True}},
)
STATISTICS = {
    "numRecords": 10,
    "minValues": {"n": 1, "s": "a", "f": 0.5, "d": "2013-07-04", "t": "2013-07-04T00:00:00.000Z"},
    "maxValues": {"n": 9, "s": "b", "f": 1.5, "d": "2013-07-05", "t": "2013-07-05T00:00:00.000Z"},
    "nullCount": {"n": 0, "s": 1, "f": 0, "d": 0, "t": 0},
}
COLUMNS = pa.schema(
    [("n", pa.int64()), ("s", pa.string()), ("f", pa.float64()), ("d", pa.date32()), ("t", pa.timestamp("us", "UTC"))]
)
SCHEMA = json.loads(Schema.from_arrow(COLUMNS).to_json())
KINDS_OF_KEYS = (
    *(pa.string(), pa.int8(), pa.int64(), pa.float64(), pa.bool_(), pa.date32(), pa.decimal128(5, 2)),
    *(pa.timestamp("us", "UTC"), pa.timestamp("us"), pa.timestamp("ns")),
)
SPELLINGS = (
    *("sNaN", "NaN", "1E+9999999999", "1e1000000000", "9" * 5000, "2013-W01-1", "2013-07-04T00:00:00+23:59"),
    *("0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59.999999-01:00", "2013-07-04 24:00:00", "1_0", "-0", "٣"),
)


def _document(data: bytes) -> None:
    stored = DocumentStore(Stored({f"{ROOT}/_lake/dataset.json": data}), ROOT).read()  # type: ignore[arg-type]
    assert DatasetDocument.model_validate_json(stored.model_dump_json()) == stored
    assert all(hold.since < AT or hold.since >= AT for hold in stored.holds.values())
    assert all(until < AT or until >= AT for until in stored.retains.values())
    if stored.dropped is not None:
        assert "undrop" in stored.dropped.way_out("lake://x") or "vacuum" in stored.dropped.way_out("lake://x")


def _record(model: type[Record]) -> Any:
    def read(data: bytes) -> None:
        record = journal._parsed(data, f"{ROOT}/_lake/journal/{model.kind}-1.json", model)
        entry = record.entry()
        assert entry.undo_until is None or entry.undo_until >= entry.at
        assert record.folded().id == record.id
        for path, _ in record.named_files() if isinstance(record, RemovalRecord) else ():
            assert not path.startswith(("/", "_lake/", "_delta_log/"))
            assert ".." not in path.split("/")

    return read


def _folded(data: bytes) -> None:
    path = f"{ROOT}/_lake/journal/folded-20140101T000000Z-000000.json"
    part = FoldedEvents.parse(path, data, "etag")
    assert all(record.id for record in part.records(KINDS))


def _commit(data: bytes) -> None:
    store: Any = Stored({COMMIT: data})
    delta_log.removed_files(store, ROOT, ["d"])
    delta_log.recent(store, ROOT, AT)
    delta_log.named_after(store, ROOT, 0)
    for entry, info in delta_log.infos_since(store, ROOT, 0):
        assert commit_of_entry({**info, "version": entry.version}).at <= AT or info.get("timestamp")
    delta_changes.changes_after(store, ROOT, ("d",), pa.schema([("d", pa.date32())]), AT)


def _pointer(data: bytes) -> None:
    version, paths = delta_log._last_checkpoint(Stored({f"{LOG}/_last_checkpoint": data}), LOG)  # type: ignore[arg-type]
    assert version >= 0
    assert all(path.startswith(f"{LOG}/{version:020d}.checkpoint.") for path in paths)


def _checkpoint(data: bytes) -> None:
    path = f"{LOG}/{1:020d}.checkpoint.parquet"
    pointer = b'{"version": 1}'
    store: Any = Stored({f"{LOG}/_last_checkpoint": pointer, path: data})
    delta_log.removed_files(store, ROOT, ["d"])


def _checkpoints() -> st.SearchStrategy[bytes]:
    """Checkpoints of other columns, other types, other values."""
    good: dict[str, Any] = {"path": "d=1/y.parquet", "deletionTimestamp": 1, "partitionValues": [("d", "1")]}
    kind = pa.struct(
        [
            ("path", pa.string()),
            ("deletionTimestamp", pa.int64()),
            ("partitionValues", pa.map_(pa.string(), pa.string())),
        ]
    )
    tables = [
        pa.table({"remove": pa.array([None, good], kind)}),
        pa.table({"remove": pa.array([{**good, "deletionTimestamp": 2**62}], kind)}),
        pa.table({"remove": pa.array([{**good, "path": "../x"}], kind)}),
        pa.table({"remove": pa.array([1])}),
        pa.table({"remove": pa.array([{"path": 1}])}),
        pa.table({"remove": pa.array([{"other": "x"}])}),
        pa.table({"add": pa.array([1])}),
    ]
    written = [_parquet(table) for table in tables]
    return st.one_of(st.sampled_from(written), mutated_bytes(written[0]))


def _parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def _run_record(data: bytes) -> None:
    store: Any = Stored({f"{ROOT}/_lake/runs/0123456789abcdef.json": data})
    records = run_records.RunRecords(store, ROOT)
    assert all(commit.at < AT or commit.at >= AT for commit in records.newest(5))
    records.forget([PartitionKey.parse("date=2000-01-01")])


def _rewrite(data: bytes) -> None:
    token = "r123456789abcdef"[:16]
    store: Any = Stored({f"{ROOT}/_lake/runs/{token}.json": data})
    held = runs.runs_of(store, ROOT, [f"part-{token}-abcdefabcdef-00000.zstd.parquet"])
    assert held == frozenset(json.loads(data)["runs"])


def _untyped(data: bytes) -> None:
    nodes, _ = undetermined._noted(Stored({f"{ROOT}/_lake/untyped.json": data}), ROOT)  # type: ignore[arg-type]
    assert all(undetermined._clashes(node, COLUMNS) in {True, False} for node in nodes)


def _schema(data: bytes) -> None:
    PlainSchema(Stored({f"{ROOT}/_lake/schema.json": data}), ROOT)._kept()  # type: ignore[arg-type]


def _change_times(data: bytes) -> None:
    times = ChangeTimes(Stored({f"{ROOT}/_lake/changes.json": data}), ROOT).read()  # type: ignore[arg-type]
    changed = times.changed("a.parquet", {"ETag": '"etag"', "LastModified": AT})
    assert changed < AT or changed >= AT


def _rejects(data: bytes) -> None:
    path = f"{ROOT}/_lake/rejects/x.parquet"
    rows = rejects.read_rejects(Stored({path: data}), path)  # type: ignore[arg-type]
    assert sum(rejects.counted_reasons(rows).values()) == rows.num_rows
    assert isinstance(rejects.identity_of(rows), str)
    assert all(isinstance(name, str) for name in rejects.texts_in(rows))


def _reject_files() -> st.SearchStrategy[bytes]:
    good = pa.table({"a": ["x"], "_reject_reason": ["late"]})
    marks = ({b"lake.texts": b'["a"]', b"lake.id": b"1"}, {b"lake.id": b"\xff"}, {b"lake.texts": b"\xff"})
    odd = (b"[", b"1", b"[1]", b'{"a": 1}', b"[" * 100_000)
    tables = [
        *(good.replace_schema_metadata(mark) for mark in (*marks, *({b"lake.texts": text} for text in odd))),
        good.drop_columns(["_reject_reason"]),
        pa.table({"_reject_reason": pa.array([[1]])}),
        pa.table({"_reject_reason": [1]}),
    ]
    written = [_parquet(table) for table in tables]
    return st.one_of(st.sampled_from(written), mutated_bytes(written[0]))


def _shelf(data: bytes) -> None:
    for footer in footers._unpacked(data):
        assert isinstance(footer.path, str)
        footers._parsed(footer.data)


def _shelves() -> st.SearchStrategy[bytes]:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"n": range(10), "s": [str(number) for number in range(10)]}), sink)
    footer = footers.footer_bytes(pq.read_metadata(pa.BufferReader(sink.getvalue())), 1 << 40) or b""
    return mutated_bytes(footers._packed([footers.KeptFooter("a.parquet", 1 << 30, footer)] * 2))


def _skipping(data: bytes) -> None:
    """A bound proves nothing unless it is one."""
    text = data.decode("utf-8", "replace")
    for combination in file_skipping._combinations(list(COLUMNS), text):
        assert all(case[0] for case in combination)


def _path(logged: str) -> None:
    path = data_path(ROOT, logged)
    assert path.split("/")[0] not in {"", "_lake", "_delta_log"}
    assert not {"", ".", ".."} & set(path.split("/"))


def _key(text: str) -> None:
    key = PartitionKey.parse(text)
    assert PartitionKey.parse(str(key)) == key
    assert "/" not in "".join(value for _, value in key.items) or "%2F" in key.prefix


def _value(given: tuple[str, pa.DataType]) -> None:
    text, kind = given
    value = typed(text, kind)
    again = typed(spelled(value.as_py()), kind)
    assert again.equals(value) or value.as_py() != value.as_py()


def _state(text: str) -> None:
    assert delta_version("id", text) is None or text.startswith("id@")


CASES = (
    Case(
        "description", json_mutations(json.loads(DOCUMENT.model_dump_json())), _document, f"{ROOT}/_lake/dataset.json"
    ),
    Case("format", json_mutations(json.loads(DOCUMENT.model_dump_json())), is_of_delta),
    *(
        Case(f"{one.kind} record", json_mutations(json.loads(one.model_dump_json())), _record(type(one)), ROOT)
        for one in RECORDS
    ),
    Case(
        "folded events",
        mutated_lines(
            [{"kind": one.kind, **json.loads(one.model_dump_json()), "id": f"2014{n}"} for n, one in enumerate(RECORDS)]
        ),
        _folded,
        "folded-20140101T000000Z-000000.json",
    ),
    Case("commit", mutated_lines(ACTIONS), _commit, ROOT),
    Case(
        "pointer to a checkpoint", json_mutations({"version": 10, "size": 5, "parts": 2}), _pointer, "_last_checkpoint"
    ),
    Case("checkpoint", _checkpoints(), _checkpoint, ROOT),
    Case(
        "run record",
        json_mutations(
            {"run_key": "k", "operation": "ingest", "at": AT.isoformat(), "partitions": ["d=1"], "details": {"by": "x"}}
        ),
        _run_record,
        f"{ROOT}/_lake/runs/",
    ),
    Case("runs of a rewrite", json_mutations({"runs": ["a", "b"]}), _rewrite, f"{ROOT}/_lake/runs/"),
    Case("untyped columns", json_mutations([[["a", "b"], "list"]]), _untyped, f"{ROOT}/_lake/untyped.json"),
    Case(
        "schema", json_mutations(json.loads(Schema.from_arrow(COLUMNS).to_json())), _schema, f"{ROOT}/_lake/schema.json"
    ),
    Case(
        "times of changes",
        json_mutations(
            {"objects": {"a.parquet": {"etag": "etag", "modified": AT.isoformat(), "changed": AT.isoformat()}}}
        ),
        _change_times,
    ),
    Case("rejected rows", _reject_files(), _rejects, f"{ROOT}/_lake/rejects/"),
    Case("kept footers", _shelves(), _shelf),
    Case("statistics", json_mutations(STATISTICS), _skipping),
    Case("path of a commit", texts(), _path, ROOT),
    Case("partition key", st.one_of(texts(), texts().map("a=".__add__)), _key),
    Case(
        "partition value",
        st.tuples(st.one_of(texts(), st.sampled_from(SPELLINGS)).filter(bool), st.sampled_from(KINDS_OF_KEYS)),
        _value,
    ),
    Case("state", st.one_of(texts(), texts().map("id@".__add__)), _state),
)
