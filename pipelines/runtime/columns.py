"""Values as columns: what has an Arrow table has a pandas and a polars frame."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from tierlake.connector.observe.edges import reporting
from tierlake.pipelines.runtime.extras import needing

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

__all__ = ["Columns"]


class Columns(ABC):
    """Values that are the rows of a table; an empty one has all columns."""

    __slots__ = ()

    @abstractmethod
    def to_arrow(self) -> pa.Table:
        """The values as columns: instants in UTC, sizes in bytes, money in US dollars."""

    @reporting
    def to_pandas(self) -> pd.DataFrame:
        """The columns of `to_arrow` as a pandas frame.

        Instants are aware and in UTC, spans are timedeltas, and numbers that may be unknown are nullable integers.

        Raises:
            PackageMissing: pandas is not installed.
        """
        with needing("pandas", f"{type(self).__name__}.to_pandas()"):
            import pandas as pd
        import pyarrow as pa

        table = self.to_arrow()
        texts = pd.StringDtype(na_value=float("nan"))  # pandas 3 has it by default, and 2.3 where it is asked for
        frame: pd.DataFrame = table.to_pandas(types_mapper={pa.string(): texts}.get)
        for position, field in enumerate(table.schema):
            if field.nullable and field.type == pa.int64():
                frame.isetitem(
                    position, table.column(position).to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
                )
        return frame

    @reporting
    def to_polars(self) -> pl.DataFrame:
        """The columns of `to_arrow` as a polars frame.

        Raises:
            PackageMissing: polars is not installed.
        """
        with needing("polars", f"{type(self).__name__}.to_polars()"):
            import polars as pl

        return pl.DataFrame(self.to_arrow())
