"""A dataset as a notebook shows it: what is in it, by the table's own metadata, and its description."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tierlake.connector.ages import format_age
from tierlake.connector.errors import LakeError
from tierlake.pipelines.query.contents import read_contents
from tierlake.pipelines.runtime import formatting
from tierlake.pipelines.runtime.html import page
from tierlake.pipelines.runtime.table import Table

if TYPE_CHECKING:
    from tierlake.pipelines.metastore.handle import Handle
    from tierlake.pipelines.model.spec import DatasetSpec

__all__ = ["overview"]


def overview(handle: Handle) -> str:
    """The page.

    Only a table with a log is read: to count the objects of one without would take a listing of the store. What cannot
    be read is no error here, as whoever looks at a dataset may want to see why.
    """
    facts = [("format", handle.table.format)]
    note = ""
    if handle.table.is_atomic:
        try:
            contents = read_contents(handle)
        except LakeError as error:
            note = f"its table cannot be read: {error}"
        else:
            columns = "" if contents.schema is None else ", ".join(contents.schema.names)
            facts += [
                ("version", formatting.count(contents.version)),
                ("partitions", formatting.count(len(contents.rows))),
                ("rows", formatting.count(contents.total_rows)),
                ("size", formatting.size(contents.bytes)),
                ("columns", columns),
            ]
    else:
        note = "it has no log: partitions() lists what is in it"
    facts += _described(handle.spec)
    if handle.document is None:
        note += f"{'; ' if note else ''}no description of ours is stored with it"
    return page(handle.spec.uri, Table(["", ""], [(name, value) for name, value in facts if value], tuple), note)


def _described(spec: DatasetSpec) -> list[tuple[str, str]]:
    time, retention = spec.partition.time, spec.retention
    by = [f"{time.column} by {time.every} of {time.timezone} as {time.key}"] if time else []
    by += spec.partition.by
    kept = (
        ""
        if retention.expire_after is None
        else f"{format_age(retention.expire_after)}, undo for {format_age(retention.grace)}"
    )
    kept += f", after {', '.join(retention.after)}" if kept and retention.after else ""
    return [
        ("partitioned by", ", ".join(by) or "nothing"),
        ("tiers", ", ".join(f"{step.tier} after {format_age(step.after)}" for step in spec.tiers)),
        ("kept for", kept),
        ("written as", f"{spec.write.storage_class}, {spec.write.encryption}, {spec.write.compression}"),
    ]
