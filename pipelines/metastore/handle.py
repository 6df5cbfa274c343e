"""What every operation on a dataset works with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from tierlake.connector.filesystem import LakeFileSystem
    from tierlake.pipelines.metastore.document import DocumentStore
    from tierlake.pipelines.metastore.journal import Journal
    from tierlake.pipelines.model.spec import DatasetSpec
    from tierlake.pipelines.runtime.clock import Clock
    from tierlake.pipelines.tables.protocol import Table

__all__ = ["Handle"]


@dataclass(frozen=True, slots=True)
class Handle:
    """An open dataset: the parts that plans, movers and maintenance need.

    Attributes:
        fs: A filesystem without live view that may write below the table's root.
        spec: The description.
        table: The live files and how they change.
        document: The stored description with holds; None for a table without a description.
        journal: The record of our acts.
        clock: The server's clock.
    """

    fs: LakeFileSystem
    spec: DatasetSpec
    table: Table
    document: DocumentStore | None
    journal: Journal
    clock: Clock

    def stored_spec(self) -> DatasetSpec:
        """The description as it is stored now: another session may have changed it."""
        return self.document.read().spec if self.document is not None else self.spec

    def as_stored(self) -> Self:
        """The same dataset, under the description as it is stored now."""
        # the URI by which it was opened counts, as for `open`
        return replace(self, spec=self.stored_spec().model_copy(update={"uri": self.spec.uri}))

    def check_in_use(self) -> None:
        """Refuse to write to a dataset that was dropped.

        Raises:
            PolicyRefused: Naming the way back.
        """
        if self.document is not None:
            self.document.read().check_in_use(self.spec.uri)
