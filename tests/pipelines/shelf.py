"""The bytes of a dataset as its store has them: nothing here has been through the code under test."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq
from botocore.exceptions import ClientError
from deltalake import DeltaTable

from tests.pipelines.foreign import delta_options
from tests.pipelines.oracle import DAYS, Rows
from tests.servers import Rig


@dataclass(frozen=True)
class Stored:
    """One object, or one version of it."""

    path: str
    etag: str
    version: str | None
    is_shown: bool

    @property
    def day(self) -> str:
        return self.path.partition("/")[0].removeprefix("date=")


class Shelf:
    """Reads objects past every layer of ours, and remembers them: one that is archived can be read no more."""

    def __init__(self, server: Rig, root: str, *, is_delta: bool, versioned: bool) -> None:
        self.server, self.root, self.is_delta, self.versioned = server, root, is_delta, versioned
        self.bucket, _, self.prefix = root.partition("/")
        self.excused: set[str] = set()
        self._known: dict[tuple[str, str, str | None], pa.Table] = {}
        self._bytes: dict[tuple[str, str], pa.Table] = {}

    def objects(self) -> list[Stored]:
        """All data files, all versions of them."""
        verb = "list_object_versions" if self.versioned else "list_objects_v2"
        pages = self.server.admin.get_paginator(verb).paginate(Bucket=self.bucket, Prefix=f"{self.prefix}/date=")
        return [
            Stored(
                entry["Key"].removeprefix(f"{self.prefix}/"),
                entry["ETag"].strip('"'),
                entry.get("VersionId"),
                entry.get("IsLatest", True),
            )
            for page in pages
            for entry in page.get("Versions" if self.versioned else "Contents", [])
            if entry["Key"].endswith(".parquet")
        ]

    def rows(self, one: Stored) -> pa.Table | None:
        """What it holds; None where it is gone, or archived before anybody looked."""
        if (one.path, one.etag, one.version) in self._known:
            return self._known[one.path, one.etag, one.version]
        where = {"Bucket": self.bucket, "Key": f"{self.prefix}/{one.path}"}
        try:
            data = self.server.admin.get_object(**where, **({"VersionId": one.version} if one.version else {}))
            table = pq.read_table(io.BytesIO(data["Body"].read()))
        except ClientError as error:
            # what is archived is there: its ETag tells which bytes it has
            table = self._bytes.get((one.path, one.etag)) if "InvalidObjectState" in str(error) else None
            if table is None:
                return None
        self._bytes[one.path, one.etag] = self._known[one.path, one.etag, one.version] = table
        return table

    def remembered(self, path: str, etag: str) -> Rows | None:
        """The ids of an object that was seen."""
        for one in self.objects():
            if one.path == path and one.etag == etag:
                self.rows(one)
        table = self._bytes.get((path, etag))
        return None if table is None else ids_of(table)

    def live(self, objects: Iterable[Stored]) -> dict[str, list[Stored]]:
        """Those of the objects that a reader sees, by day."""
        shown = [one for one in objects if one.is_shown]
        if self.is_delta:
            table = DeltaTable(f"s3://{self.root}", storage_options=delta_options(self.server))
            named = {uri.removeprefix(f"s3://{self.root}/") for uri in table.file_uris()}
            shown = [one for one in shown if one.path in named]
        return {day: [one for one in shown if one.day == day] for day in DAYS}


def ids_of(table: pa.Table) -> Rows:
    return frozenset(table["id"].to_pylist())


def all_ids(tables: Iterable[pa.Table | None]) -> Rows:
    return frozenset().union(*(ids_of(table) for table in tables if table is not None))
