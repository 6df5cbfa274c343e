"""Creating and opening datasets: ours by their stored description, others' by what is inferred from their files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from pydantic import ValidationError

from tierlake.connector.client.arguments import refuse_unknown
from tierlake.connector.errors import (
    AccessDenied,
    DeletionFailed,
    EncryptionIgnored,
    InvalidSetting,
    PreconditionFailed,
)
from tierlake.connector.filesystem import LakeFileSystem
from tierlake.connector.policy.encryption import parse_encryption
from tierlake.pipelines.errors import SpecError, TableExists, TableNotFound, UnsupportedByTable
from tierlake.pipelines.metastore.deletion import take_back
from tierlake.pipelines.metastore.document import DatasetDocument, DocumentStore
from tierlake.pipelines.metastore.handle import Handle
from tierlake.pipelines.metastore.inference import doubt_of_width, inferred_partitioning
from tierlake.pipelines.metastore.journal import Journal
from tierlake.pipelines.model.spec import DatasetSpec, PartitionSpec
from tierlake.pipelines.model.spec_diff import check_agrees, completed, differences
from tierlake.pipelines.runtime.clock import Clock, ServerClock
from tierlake.pipelines.runtime.fork_guard import refuse_after_fork
from tierlake.pipelines.runtime.parallel import ThreadQueue
from tierlake.pipelines.tables import table_of_format
from tierlake.pipelines.tables.nested import LOG, enclosing_root, first_objects, is_nested, nested_roots

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pyarrow as pa

    from tierlake.pipelines.model.partition_key import PartitionKey
    from tierlake.pipelines.tables.protocol import Table

__all__ = [
    "BESIDE",
    "Described",
    "check_honoured",
    "check_new",
    "create_dataset",
    "described_anew",
    "description_of",
    "fields_of",
    "first_document",
    "history_kept",
    "open_dataset",
    "spec_in_file",
    "spec_of_undescribed",
    "table_filesystem",
    "table_properties",
]

BESIDE: Final = "one table lies beside the other, never inside it: choose another prefix"
_NAMED = 3
_LOOKS = 2  # at once

Described: TypeAlias = DatasetSpec | Mapping[str, object] | Path | str
"""A caller's description of a dataset: a spec, a YAML file, or some of a spec's fields."""


_HOUR = timedelta(hours=1)
_LOG_KEPT = timedelta(days=30)
"""How long Delta keeps its log by default."""
_LOG_BEYOND_GRACE = timedelta(days=7)
"""Time for the vacuum that runs some days after the end of a grace."""


def create_dataset(
    spec: DatasetSpec,
    fs: LakeFileSystem | None,
    clock: Clock | None,
    options: Mapping[str, Any],
    first: pa.Schema | None = None,
) -> Handle:
    """Make a new dataset; see `Dataset.create`."""
    from tierlake.pipelines.tables.creation import create_table, first_schema

    check_new(spec, fs, options, first)  # also checks that no other objects are there: a log would hide them
    inside = table_filesystem(fs, spec, options)
    now = clock or ServerClock(inside, spec.bucket)
    schema = first_schema(spec, first)
    store = DocumentStore(inside, spec.root)
    try:
        first_document(inside, store, DatasetDocument(spec=spec))
    except PreconditionFailed:
        _check_same(store.read(), spec)
        is_new = False
    else:
        _check_alone(inside, spec, store.path)
        is_new = True
    create_table(inside, spec, schema, table_properties(spec), is_new=is_new)
    if not is_new:
        return open_dataset(spec.uri, None, fs, now, options)
    table = table_of_format(inside, spec.root, spec.format, spec.partition.columns)
    return Handle(inside, spec, table, store, Journal(inside, spec.root), now)


def check_new(
    spec: DatasetSpec, fs: LakeFileSystem | None, options: Mapping[str, Any], first: pa.Schema | None = None
) -> bool:
    """Make the checks of `create_dataset`; see `Dataset.check_new`."""
    from tierlake.pipelines.model.partition_types import check_partitioned
    from tierlake.pipelines.model.stored_types import declared_schema
    from tierlake.pipelines.tables.creation import check_is_no_partition, check_place, first_schema

    refuse_after_fork()
    check_place(spec)
    inside = table_filesystem(fs, spec, options)
    check_honoured(inside, spec)
    check_partitioned(spec.partition, declared_schema(spec.columns))
    schema = first_schema(spec, first)
    ServerClock(inside, spec.bucket).now()  # a missing bucket, wrong credentials or a dead endpoint end it here
    store = DocumentStore(inside, spec.root)
    if (document := store.find()) is not None:
        return _is_unfinished(inside, document, spec)
    below = first_objects(inside, spec.root)
    if below and (document := store.find()) is not None:  # another process made it meanwhile
        return _is_unfinished(inside, document, spec)
    _check_free(inside, spec, below, schema)
    if (above := enclosing_root(inside, spec.root)) is not None:
        raise TableExists(f"{spec.uri} lies inside another table, lake://{above}", hint=BESIDE)
    check_is_no_partition(spec)
    return True


def check_honoured(fs: LakeFileSystem, spec: DatasetSpec) -> None:
    """Refuse a write policy that the server does not have.

    Raises:
        SpecError: An unknown encryption.
        UnsupportedByServer: A storage class or an encryption that this server lacks.
    """
    fs.profile.check_class(spec.write.storage_class)
    try:
        encryption = parse_encryption(spec.write.encryption)
    except InvalidSetting as error:
        raise SpecError(f"write.encryption: {error.message}", hint=error.hint) from error
    fs.profile.check_encryption(encryption.mode)


def _is_unfinished(fs: LakeFileSystem, document: DatasetDocument, spec: DatasetSpec) -> bool:
    """Whether a described dataset still lacks its log, since its creation was interrupted.

    Raises:
        TableExists: It has another spec.
        LogMissing: It has no log, and more than the description is there.
    """
    from tierlake.pipelines.tables.creation import check_begun

    _check_same(document, spec)
    try:
        check_begun(fs, spec.root, spec.format)
    except TableNotFound:
        return True
    return False


def _check_free(fs: LakeFileSystem, spec: DatasetSpec, below: Sequence[str], schema: pa.Schema | None) -> None:
    """Refuse a prefix with objects, but for the log that an interrupted `create` of the same spec left."""
    from tierlake.pipelines.tables.creation import is_just_created

    paths = [path.removeprefix(f"{spec.root}/") for path in below]
    if not paths:
        return
    adopts = f"`tierlake adopt {spec.uri}` makes a dataset of the Parquet files or of the Delta table that is there"
    if any(path.startswith(LOG) for path in paths):
        if all(path.startswith(LOG) for path in paths) and is_just_created(fs, spec, schema):
            return
        message = f"{spec.uri} is a Delta table already"
        raise TableExists(message, hint=f"Dataset.open({spec.uri!r}) works with it as it is; {adopts}")
    if nested := sorted(nested_roots(paths)):
        raise TableExists(f"another table lies below {spec.uri}: {spec.uri}/{nested[0]}", hint=BESIDE)
    named = ", ".join(paths[:_NAMED]) + (", ..." if len(paths) > _NAMED else "")
    raise TableExists(f"{spec.uri} is not empty: {named}", hint=f"{adopts}; or choose an empty prefix")


def _check_alone(fs: LakeFileSystem, spec: DatasetSpec, description: str) -> None:
    """Look again once our description is visible: of two nested datasets created at once, at least one sees the other.

    Raises:
        TableExists: There is one above or below; our description is taken back.
    """
    above = enclosing_root(fs, spec.root)
    paths = [path.removeprefix(f"{spec.root}/") for path in fs.first_keys(f"{spec.root}/")]
    nested = nested_roots(paths)
    if above is None and not nested:
        return
    hint = BESIDE
    try:
        if all(is_nested(path, nested) or f"{spec.root}/{path}" == description for path in paths):
            take_back(fs, [description])
    except (AccessDenied, DeletionFailed):  # a writer may not be allowed to delete
        hint += f"; its description is left, for somebody who may delete lake://{description}"
    where = f"inside another table, lake://{above}" if above else f"above another table, {spec.uri}/{min(nested)}"
    raise TableExists(f"{spec.uri} lies {where}, which was made at the same time", hint=hint)


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
    from tierlake.pipelines.tables.creation import check_begun

    refuse_after_fork()
    uri, fields = _uri_and_fields(dataset, described)
    location = DatasetSpec(uri=uri)
    inside = table_filesystem(fs, location, options)
    now = clock or ServerClock(inside, location.bucket)
    store = DocumentStore(inside, location.root)
    document = _document(now, store)
    if document is not None:
        is_ending = document.dropped is not None and document.dropped.is_ending  # by a vacuum that may have stopped
        if not is_ending:
            check_begun(inside, location.root, document.spec.format)
        # the URI by which it was opened counts, not the stored one: it may be a copy, or a trap
        spec = document.spec.model_copy(update={"uri": location.uri})
        _check_agree(spec, dataset if _is_description(dataset) else None, described)
        table = table_of_format(inside, spec.root, spec.format, spec.partition.columns)
    else:
        try:
            table = _undescribed_table(inside, location.root, fields)
        except UnsupportedByTable:  # a log that came after the first look
            if store.find() is None:
                raise
            return open_dataset(dataset, described, fs, clock, options)
        if store.find() is not None:  # written before its log: another process made it just now
            return open_dataset(dataset, described, fs, clock, options)
        snapshot = table.snapshot()
        columns = snapshot.files[0].key.columns if snapshot.files else table.partition_columns
        base = {"uri": uri, "format": table.format}
        spec = spec_of_undescribed(base, columns, snapshot.by_partition(), fields)
        _check_zone(spec, snapshot.known_schema)
    if spec.write != location.write:
        inside = table_filesystem(fs, spec, options)
        if document is None:
            table = _undescribed_table(inside, spec.root, fields)
        else:
            table = table_of_format(inside, spec.root, spec.format, spec.partition.columns)
        store = DocumentStore(inside, spec.root)
    return Handle(inside, spec, table, store if document is not None else None, Journal(inside, spec.root), now)


def _document(clock: Clock, store: DocumentStore) -> DatasetDocument | None:
    """The stored description, if there is one, in the time of one request: the clock is set meanwhile."""
    with ThreadQueue[Any](_LOOKS, "open") as looking:
        looking.submit(clock.now)  # a missing bucket, wrong credentials or a dead endpoint end it here
        looking.submit(store.find)
        document: DatasetDocument | None = looking.results()[1]
    return document


def spec_of_undescribed(
    told: Mapping[str, str], columns: tuple[str, ...], keys: Iterable[PartitionKey], said: Mapping[str, object]
) -> DatasetSpec:
    """The spec of a table without one: the caller's fields, and the rest inferred from the files.

    Args:
        told: The table's `uri` and `format`.
        columns: Its Hive columns, in order.
        keys: The keys of its partitions.
        said: The caller's fields of a spec.

    Raises:
        SpecError: The two contradict each other, or the keys leave open a width of windows that policies need.
    """
    uri, actual = told["uri"], told["format"]
    fields = {name: value for name, value in said.items() if name != "uri"}
    keys = list(keys)
    try:
        known = _fitting(fields["partition"], columns, uri) if "partition" in fields else None
        fields["partition"] = known or inferred_partitioning(columns, keys)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        message = f"{uri} is partitioned by {', '.join(columns)}: {fault}"
        raise SpecError(message, hint="read it with the engine that wrote it, or with `deltalake`") from error
    spec = DatasetSpec(**{**told, **fields})
    if "partition" not in said and (spec.tiers or spec.retention.expire_after is not None):
        _check_width(spec, keys)
    if spec.format != actual:
        message = f"{uri} is {'a Delta table' if actual == 'delta' else 'plain Parquet'}, not {spec.format}"
        hint = "leave `format` out" + ("; `tierlake adopt` makes it a Delta table" if spec.format == "delta" else "")
        raise SpecError(message, hint=hint)
    return spec


def _check_width(spec: DatasetSpec, keys: Iterable[PartitionKey]) -> None:
    """Refuse to guess the width of windows where partitions will be moved or removed by it."""
    doubt, time = doubt_of_width(spec.partition, keys), spec.partition.time
    if doubt is not None and time is not None:
        raise SpecError(
            f"{spec.uri}: {doubt}, and tiers and retention go by the end of a window",
            hint=f"say how wide they are: partition: {{time: {{key: {time.key}, every: {time.every}}}}}, or wider",
        )


def _check_zone(spec: DatasetSpec, schema: pa.Schema | None) -> None:
    """Refuse windows in another zone than UTC, in which the log spells instants: they would end hours early or late."""
    time = spec.partition.time
    if time is None or schema is None or time.key not in schema.names or time.timezone == "UTC":
        return
    kind = schema.field(time.key).type
    if getattr(kind, "tz", None):
        message = f"{spec.uri}: {time.key} holds instants, whose keys are spelled in UTC, not in {time.timezone}"
        raise SpecError(message, hint="say timezone: UTC")


def _partitioning(partition: object, uri: str) -> PartitionSpec:
    return partition if isinstance(partition, PartitionSpec) else DatasetSpec(uri=uri, partition=partition).partition


def _fitting(partition: object, columns: tuple[str, ...], uri: str) -> PartitionSpec:
    """The caller's partitioning, with the table's other columns and in the table's order."""
    requested = _partitioning(partition, uri)
    strange = [name for name in requested.columns if name not in columns]
    if strange:
        table, hint = f"is partitioned by {', '.join(columns)}", "partition.time.key names the column"
        if not columns:
            table = "is not partitioned"
            hint = f"its files lie neither below {strange[0]}=... nor are they all named by it, as {strange[0]}.parquet"
        raise SpecError(f"{uri} {table}: there is no {', '.join(strange)}", hint=hint)
    comes_first = requested.time is not None and columns[:1] == (requested.time.key,)
    return PartitionSpec(time=requested.time, by=columns[1:] if comes_first else columns)


def first_document(fs: LakeFileSystem, store: DocumentStore, document: DatasetDocument) -> None:
    """Write the first object of a dataset; it shows whether the server honours the encryption.

    Raises:
        PreconditionFailed: There is one already.
        EncryptionIgnored: The server stored it without the requested encryption.
    """
    try:
        store.create(document)
    except EncryptionIgnored:
        fs.rm_file(store.path)
        raise


def table_filesystem(fs: LakeFileSystem | None, spec: DatasetSpec, options: Mapping[str, Any]) -> LakeFileSystem:
    """The filesystem that may write below a dataset's root, under its write policy.

    Raises:
        UnknownOption: An option that `LakeFileSystem` does not have.
        SpecError: Options together with a filesystem, which would ignore them.
    """
    refuse_unknown(options, caller="Dataset")
    if fs is not None and options:
        message = f"{', '.join(sorted(options))}: a filesystem is given, which has its own options"
        raise SpecError(message, hint="pass them to LakeFileSystem(...), or leave fs out")
    outside = fs if fs is not None else LakeFileSystem(**options)
    return outside.for_table(spec.root, encryption=spec.write.encryption, storage_class=spec.write.storage_class)


def history_kept(spec: DatasetSpec) -> timedelta:
    """How far the history of a table goes back: beyond the grace, as undo reads there what others did since."""
    return max(_LOG_KEPT, spec.retention.grace + _LOG_BEYOND_GRACE)


def table_properties(spec: DatasetSpec) -> dict[str, str]:
    """Delta properties that match the spec: other engines' vacuum then keeps our grace too.

    The log outlives the grace, and is never kept for less than Delta's own 30 days: undo reads it.
    """
    grace, log = spec.retention.grace, history_kept(spec)
    return {
        "delta.deletedFileRetentionDuration": f"interval {grace // _HOUR} hours",
        "delta.logRetentionDuration": f"interval {log // _HOUR} hours",
    }


def _uri_and_fields(dataset: str | Path | DatasetSpec, described: Described | None) -> tuple[str, Mapping[str, object]]:
    """The URI, and the fields that the caller sets."""
    fields = fields_of(dataset) if _is_description(dataset) else {"uri": DatasetSpec(uri=str(dataset)).uri}
    more = fields_of(described) if described is not None else {}
    both = {**fields, **more}
    if "uri" in more and DatasetSpec(uri=str(more["uri"])).uri != fields["uri"]:
        message = f"the spec is of {more['uri']}, not of {fields['uri']}"
        raise SpecError(message, hint="leave `uri` out of it, or open that one")
    return str(fields["uri"]), both


def _check_agree(stored: DatasetSpec, *descriptions: Described | None) -> None:
    """Refuse a description with another policy than the stored one.

    Raises:
        SpecDiffers: It names the fields and both ways out.
    """
    for one in descriptions:
        if one is not None:
            check_agrees(stored, description_of(one), None if isinstance(one, DatasetSpec | Mapping) else str(one))


def description_of(described: Described) -> DatasetSpec | Mapping[str, object]:
    """The caller's description of a dataset: a whole spec, or some fields.

    Raises:
        TableNotFound: No such file.
        SpecError: The file is no spec.
    """
    return described if isinstance(described, DatasetSpec | Mapping) else spec_in_file(Path(described))


def spec_in_file(path: Path) -> DatasetSpec:
    """The spec in a YAML file.

    Raises:
        TableNotFound: No such file.
        SpecError: The file is no spec.
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
        TableNotFound: No such file.
        SpecError: The file is no spec.
    """
    if isinstance(described, Mapping):
        return dict(described)
    if isinstance(described, DatasetSpec):
        return {name: getattr(described, name) for name in described.model_fields_set}
    return fields_of(spec_in_file(Path(described)))


def _undescribed_table(fs: LakeFileSystem, root: str, fields: Mapping[str, object]) -> Table:
    from tierlake.pipelines.tables.undescribed import open_logged, open_plain

    if (logged := open_logged(fs, root)) is not None:
        return logged
    if (above := enclosing_root(fs, root)) is not None:
        message = f"lake://{root} lies inside a table, lake://{above}, which alone tells what of it is live"
        raise UnsupportedByTable(message, hint=f"Dataset.open('lake://{above}').read(where=...)")
    plain = open_plain(fs, root, None)
    return plain if plain.partition_columns else _named_files(fs, plain, fields) or plain


def _named_files(fs: LakeFileSystem, plain: Table, fields: Mapping[str, object]) -> Table | None:
    """The table as one whose files are named by partition, if the caller says how or every name is a window."""
    from tierlake.pipelines.tables.file_per_partition import UNTOLD, NamedFilesTable, are_named_by

    table = NamedFilesTable(fs, plain.root, (UNTOLD,))
    paths = [file.path for file in plain.snapshot().files]
    if "partition" not in fields:
        return table if inferred_partitioning(table.partition_columns, map(table.key_of, paths)).time else None
    requested = _partitioning(fields["partition"], f"lake://{plain.root}")
    if requested.time is None or not are_named_by(paths, requested.columns, requested.time):
        return None
    return NamedFilesTable(fs, plain.root, requested.columns)
