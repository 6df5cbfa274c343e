"""What the log of a Delta table tells a survey: how much is live, the partition columns, and what we cannot handle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tierlake.connector.errors import LakeError
from tierlake.pipelines.runtime.fork_guard import refuse_after_fork, rust_is_in_use

if TYPE_CHECKING:
    from deltalake import DeltaTable

    from tierlake.connector.filesystem import LakeFileSystem
    from tierlake.pipelines.survey.folders import LogFacts

__all__ = ["DeltaFigures", "figures_of"]

_ENTRIES_MAX: Final = 500
_CHECKPOINT_BYTES_MAX: Final = 64_000_000


@dataclass(frozen=True, slots=True)
class DeltaFigures:
    """The state of a table by its log.

    Attributes:
        live_files: Files that the table names now; None where the log was not read.
        live_bytes: Their size.
        columns: The partition columns, in order.
        features: Delta features beyond those that we write, by name.
        names_others: Whether it names files of other tables by their whole address, as a shallow clone does.
        problem: Why the log was not read, in words.
    """

    live_files: int | None = None
    live_bytes: int = 0
    columns: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    names_others: bool = False
    problem: str | None = None

    @property
    def counts_files(self) -> bool:
        """Whether all data files that it names are those that count: features may keep other files beside them."""
        return self.live_files is not None and not self.features and not self.names_others


def figures_of(fs: LakeFileSystem, root: str, log: LogFacts) -> DeltaFigures:
    """Read the log of a table: its newest checkpoint and the commits after it, unless these are very many.

    Args:
        fs: The connector.
        root: `bucket/prefix`.
        log: What the listing tells of it.
    """
    if log.newest < 0 and log.checkpoint < 0:
        return DeltaFigures(problem="its _delta_log holds no commit")
    if log.entries_to_read > _ENTRIES_MAX:
        return DeltaFigures(problem=f"its log has {log.entries_to_read:,} commits without a checkpoint")
    if log.checkpoint_bytes > _CHECKPOINT_BYTES_MAX:
        return DeltaFigures(problem=f"its checkpoint has {log.checkpoint_bytes / 1e6:,.0f} MB")
    import pyarrow.compute as pc
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    from tierlake.pipelines.tables.delta_files import added_files
    from tierlake.pipelines.tables.delta_url import delta_url
    from tierlake.pipelines.tables.error_edge import in_words_of_ours

    refuse_after_fork()
    rust_is_in_use()
    columns: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    try:
        with in_words_of_ours(root):
            table = DeltaTable(delta_url(root), storage_options=fs.delta_options())
            columns, features = tuple(table.metadata().partition_columns), _features(table)
            live = added_files(table)
            sizes, paths = live.column("size_bytes"), live.column("path").to_pylist()
            outside = any("://" in path and not path.partition("://")[2].startswith(f"{root}/") for path in paths)
            return DeltaFigures(len(sizes), int(pc.sum(sizes).as_py() or 0), columns, features, outside)
    except (LakeError, DeltaError, OSError) as error:
        reason = error.message if isinstance(error, LakeError) else str(error)
        return DeltaFigures(columns=columns, features=features, problem=f"its log cannot be read: {_line(reason)}")


def _features(table: DeltaTable) -> tuple[str, ...]:
    """Features that we do not write, and reading or counting files without them would be wrong."""
    from tierlake.pipelines.tables.delta_features import WRITER_FEATURES

    protocol = table.protocol()
    named = {*(protocol.reader_features or ()), *(protocol.writer_features or ())}
    properties = table.metadata().configuration
    if properties.get("delta.enableDeletionVectors") == "true":
        named.add("deletionVectors")
    if properties.get("delta.enableChangeDataFeed") == "true":
        named.add("changeDataFeed")
    if properties.get("delta.columnMapping.mode", "none") != "none":
        named.add("columnMapping")
    if any(name.startswith("delta.constraints.") for name in properties):
        named.add("checkConstraints")
    return tuple(sorted(named - WRITER_FEATURES))


def _line(text: str) -> str:
    return " ".join(text.split())[:200]
