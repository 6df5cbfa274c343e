"""Making and opening datasets: ours by what is stored with them, anybody's by what their files tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from connector.errors import EncryptionIgnored, PreconditionFailed
from connector.filesystem import LakeFileSystem
from pipelines.clock import Clock, ServerClock
from pipelines.description import check_agrees, completed, differences
from pipelines.document import DatasetDocument, DocumentStore
from pipelines.errors import SpecError, TableExists, TableNotFound
from pipelines.forks import refuse_after_fork
from pipelines.handle import Handle
from pipelines.inference import inferred_partitioning
from pipelines.journal import Journal
from pipelines.spec import DatasetSpec, PartitionSpec
from pipelines.tables import table_of_format

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa

    from pipelines.layout import PartitionKey
    from pipelines.tables.named import NamedFilesTable
    from pipelines.tables.parquet import PlainParquetTable
    from pipelines.tables.protocol import Table

__all__ = [
    "Described",
    "check_new",
    "create_dataset",
    "described_anew",
    "description_of",
    "fields_of",
    "first_document",
    "open_dataset",
    "spec_in_file",
    "spec_of_undescribed",
    "table_filesystem",
    "table_properties",
]

Described: TypeAlias = DatasetSpec | Mapping[str, object] | Path | str
"""What a caller says of a dataset: a spec, a YAML file, or some of a spec's fields; the table tells the others."""


_HOUR = timedelta(hours=1)
_LOG_KEPT = timedelta(days=30)
"""How long Delta keeps its log where nobody says otherwise."""
_LOG_BEYOND_GRACE = timedelta(days=7)
"""For the vacuum that comes some days after the end of a grace."""


def create_dataset(
    spec: DatasetSpec, fs: LakeFileSystem | None, clock: Clock | None, options: Mapping[str, Any]
) -> Handle:
    """Make a new dataset; see `Dataset.create`."""
    from pipelines.tables.delta import LakeDeltaTable

    check_new(spec, fs, options)
    inside = table_filesystem(fs, spec, options)
    now = clock or ServerClock(inside, spec.bucket)
    schema = _first_schema(spec) if spec.format == "delta" else None
    store = DocumentStore(inside, spec.root)
    try:
        first_document(inside, store, DatasetDocument(spec=spec))
    except PreconditionFailed:
        _check_same(store.read(), spec)
    if schema is not None:
        LakeDeltaTable.create(inside, spec.root, schema, spec.partition.columns, table_properties(spec))
        inside.invalidate_view(spec.root)
    return open_dataset(spec.uri, None, fs, now, options)


def check_new(spec: DatasetSpec, fs: LakeFileSystem | None, options: Mapping[str, Any]) -> bool:
    """Make the checks of `create_dataset`; see `Dataset.check_new`."""
    from pipelines.partitioning import Partitioner
    from pipelines.stored_types import declared_schema
    from pipelines.tables.delta import LakeDeltaTable

    refuse_after_fork()
    inside = table_filesystem(fs, spec, options)
    inside.profile.check_class(spec.write.storage_class)
    Partitioner(spec.partition).check_stored(declared_schema(spec.columns))
    if spec.format == "delta":
        _first_schema(spec)
    ServerClock(inside, spec.bucket).now()  # a missing bucket, wrong credentials or a dead endpoint end it here
    document = DocumentStore(inside, spec.root).find()
    if document is not None:
        _check_same(document, spec)
        return False
    if spec.format == "delta" and LakeDeltaTable(inside, spec.root).exists():
        message = f"{spec.uri} is a Delta table already"
        raise TableExists(message, hint=f"Dataset.open({spec.uri!r}) works with it as it is")
    return True


def _check_same(document: DatasetDocument, spec: DatasetSpec) -> None:
    document.check_in_use(spec.uri)
    stored = document.spec.model_copy(update={"uri": spec.uri})
    changes = differences(stored, completed(stored, spec))
    if changes:
        fields = "; ".join(
            f"{one.field} is {one.before or 'not there'}, not {one.after or 'not there'}" for one in changes
        )
        raise TableExists(
            f"{spec.uri} exists with another spec: {fields}",
            hint=f"`tierlake apply` makes this spec its own, Dataset.open({spec.uri!r}) goes on with the stored one",
        )


def open_dataset(
    dataset: str | Path | DatasetSpec,
    described: Described | None,
    fs: LakeFileSystem | None,
    clock: Clock | None,
    options: Mapping[str, Any],
) -> Handle:
    """Open what is there; see `Dataset.open`."""
    refuse_after_fork()
    uri, said = _asked_for(dataset, described)
    asked = DatasetSpec(uri=uri)
    inside = table_filesystem(fs, asked, options)
    now = clock or ServerClock(inside, asked.bucket)
    now.now()
    store = DocumentStore(inside, asked.root)
    document = store.find()
    if document is not None:
        # where it lies counts, not where it says it was made: it may have been copied, or be somebody's trap
        spec = document.spec.model_copy(update={"uri": asked.uri})
        _check_agree(spec, dataset if _is_description(dataset) else None, described)
        table = table_of_format(inside, spec.root, spec.format, spec.partition.columns)
    else:
        table = _found_table(inside, asked.root, said)
        snapshot = table.snapshot()
        columns = snapshot.files[0].key.columns if snapshot.files else table.partition_columns
        told = {"uri": uri, "format": table.format}
        spec = spec_of_undescribed(told, columns, snapshot.by_partition(), said)
    if spec.write != asked.write:
        inside = table_filesystem(fs, spec, options)
        if document is None:
            table = _found_table(inside, spec.root, said)
        else:
            table = table_of_format(inside, spec.root, spec.format, spec.partition.columns)
        store = DocumentStore(inside, spec.root)
    return Handle(inside, spec, table, store if document is not None else None, Journal(inside, spec.root), now)


def spec_of_undescribed(
    told: Mapping[str, str], columns: tuple[str, ...], keys: Iterable[PartitionKey], said: Mapping[str, object]
) -> DatasetSpec:
    """The spec of a table that has none: what the caller says, the rest as the files tell.

    Args:
        told: its `uri` and `format`.
        columns: its Hive columns, in order.
        keys: of its partitions.
        said: a spec's fields.

    Raises:
        SpecError: the two contradict each other.
    """
    uri, found = told["uri"], told["format"]
    given = {name: value for name, value in said.items() if name != "uri"}
    if "partition" in given:
        given["partition"] = _fitting(given["partition"], columns, uri)
    else:
        given["partition"] = inferred_partitioning(columns, keys)
    spec = DatasetSpec(**{**told, **given})
    if spec.format != found:
        message = f"{uri} is {'a Delta table' if found == 'delta' else 'plain Parquet'}, not {spec.format}"
        hint = "leave `format` out" + ("; `tierlake adopt` makes it a Delta table" if spec.format == "delta" else "")
        raise SpecError(message, hint=hint)
    return spec


def _partitioning(said: object, uri: str) -> PartitionSpec:
    return said if isinstance(said, PartitionSpec) else DatasetSpec(uri=uri, partition=said).partition


def _fitting(said: object, columns: tuple[str, ...], uri: str) -> PartitionSpec:
    """The partitioning that a caller says, with the table's other columns and in the table's order."""
    wanted = _partitioning(said, uri)
    strange = [name for name in wanted.columns if name not in columns]
    if strange:
        table, hint = f"is partitioned by {', '.join(columns)}", "partition.time.key names the column"
        if not columns:
            table = "is not partitioned"
            hint = f"its files lie neither below {strange[0]}=... nor are they all named by it, as {strange[0]}.parquet"
        raise SpecError(f"{uri} {table}: there is no {', '.join(strange)}", hint=hint)
    comes_first = wanted.time is not None and columns[:1] == (wanted.time.key,)
    return PartitionSpec(time=wanted.time, by=columns[1:] if comes_first else columns)


def first_document(fs: LakeFileSystem, store: DocumentStore, document: DatasetDocument) -> None:
    """Write the first object of a dataset; it shows whether the server honours the encryption.

    Raises:
        PreconditionFailed: there is one already.
        EncryptionIgnored: the server stored it without the encryption that was asked for.
    """
    try:
        store.create(document)
    except EncryptionIgnored:
        fs.rm_file(store.path)
        raise


def table_filesystem(fs: LakeFileSystem | None, spec: DatasetSpec, options: Mapping[str, Any]) -> LakeFileSystem:
    """The filesystem that may write below a dataset's root, under its write policy."""
    outside = fs if fs is not None else LakeFileSystem(**options)
    return outside.for_table(spec.root, encryption=spec.write.encryption, storage_class=spec.write.storage_class)


def table_properties(spec: DatasetSpec) -> dict[str, str]:
    """Delta properties that match the spec: other engines' vacuum then keeps our grace too.

    The log outlives the grace, and is never kept for less than Delta's own 30 days: undo asks it what others did since.
    """
    grace = spec.retention.grace
    log = max(_LOG_KEPT, grace + _LOG_BEYOND_GRACE)
    return {
        "delta.deletedFileRetentionDuration": f"interval {grace // _HOUR} hours",
        "delta.logRetentionDuration": f"interval {log // _HOUR} hours",
    }


def _asked_for(dataset: str | Path | DatasetSpec, described: Described | None) -> tuple[str, Mapping[str, object]]:
    """The URI, and the fields that the caller says."""
    said = fields_of(dataset) if _is_description(dataset) else {"uri": DatasetSpec(uri=str(dataset)).uri}
    more = fields_of(described) if described is not None else {}
    both = {**said, **more}
    if "uri" in more and DatasetSpec(uri=str(more["uri"])).uri != said["uri"]:
        message = f"the spec is of {more['uri']}, not of {said['uri']}"
        raise SpecError(message, hint="leave `uri` out of it, or open that one")
    return str(said["uri"]), both


def _check_agree(stored: DatasetSpec, *descriptions: Described | None) -> None:
    """Refuse a description by which another policy would count than the one that is stored.

    Raises:
        SpecDiffers: naming the fields and both ways out.
    """
    for one in descriptions:
        if one is not None:
            check_agrees(stored, description_of(one), None if isinstance(one, DatasetSpec | Mapping) else str(one))


def description_of(described: Described) -> DatasetSpec | Mapping[str, object]:
    """What a caller says of a dataset: all of it, or some fields.

    Raises:
        TableNotFound: no such file.
        SpecError: the file is no spec.
    """
    return described if isinstance(described, DatasetSpec | Mapping) else spec_in_file(Path(described))


def spec_in_file(path: Path) -> DatasetSpec:
    """The spec in a YAML file.

    Raises:
        TableNotFound: no such file.
        SpecError: the file is no spec.
    """
    if not path.is_file():
        raise TableNotFound(f"no file {path}", hint="DATASET is a URI (lake://bucket/prefix) or a YAML file")
    return DatasetSpec.from_yaml(path)


def described_anew(handle: Handle, spec: DatasetSpec) -> Handle:
    """An open dataset of ours under another description, with its write policy."""
    inside = table_filesystem(handle.fs, spec, {})
    return replace(
        handle,
        fs=inside,
        spec=spec,
        table=table_of_format(inside, spec.root, spec.format, spec.partition.columns),
        document=DocumentStore(inside, spec.root),
        journal=Journal(inside, spec.root),
    )


def _is_description(dataset: Described) -> bool:
    return not isinstance(dataset, str) or dataset.endswith((".yaml", ".yml"))


def fields_of(described: Described) -> dict[str, object]:
    """The fields that a description sets itself.

    Raises:
        TableNotFound: no such file.
        SpecError: the file is no spec.
    """
    if isinstance(described, Mapping):
        return dict(described)
    if isinstance(described, DatasetSpec):
        return {name: getattr(described, name) for name in described.model_fields_set}
    return fields_of(spec_in_file(Path(described)))


def _found_table(fs: LakeFileSystem, root: str, said: Mapping[str, object]) -> Table:
    from pipelines.tables.delta import LakeDeltaTable
    from pipelines.tables.parquet import open_plain

    delta = LakeDeltaTable(fs, root)
    if delta.exists():
        return delta
    plain = open_plain(fs, root, None)
    return plain if plain.partition_columns else _named_files(fs, plain, said) or plain


def _named_files(fs: LakeFileSystem, plain: PlainParquetTable, said: Mapping[str, object]) -> NamedFilesTable | None:
    """The table as one whose files are named by their partition: where a caller says how, or every name is a window."""
    from pipelines.tables.named import UNTOLD, NamedFilesTable, are_named_by

    table = NamedFilesTable(fs, plain.root, (UNTOLD,))
    paths = [file.path for file in plain.snapshot().files]
    if "partition" not in said:
        return table if inferred_partitioning(table.partition_columns, map(table.key_of, paths)).time else None
    wanted = _partitioning(said["partition"], f"lake://{plain.root}")
    if wanted.time is None or not are_named_by(paths, wanted.columns, wanted.time):
        return None
    return NamedFilesTable(fs, plain.root, wanted.columns)


def _first_schema(spec: DatasetSpec) -> pa.Schema:
    import pyarrow as pa

    from pipelines.stored_types import declared_schema

    if not spec.columns and not spec.partition.columns:
        message = f"{spec.uri}: a Delta table needs at least one column when it is made"
        raise SpecError(message, hint="declare `columns` in the spec, or partition it")
    declared = declared_schema(spec.columns)
    types = {field.name: field.type for field in declared}
    keys = [pa.field(name, types.get(name, pa.string())) for name in spec.partition.columns]
    return pa.schema([*keys, *(field for field in declared if field.name not in spec.partition.columns)])
