"""What an act came to, as numbers that are equal for equal content, and how much memory its result holds.

Results are Arrow tables, pandas or polars frames, bytes of any library, or paths of files.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import pyarrow as pa

    from benchmarks.model import Answer


def table(result: Any) -> pa.Table:
    """Rows of any library as Arrow's."""
    import pyarrow as pa

    if isinstance(result, pa.Table):
        return result
    if hasattr(result, "to_arrow"):
        return pa.table(result.to_arrow())
    return pa.Table.from_pandas(result, preserve_index=False)


def sums(*columns: str) -> Callable[[Any], Answer]:
    """An answer: the rows and the exact sums of columns of integers or decimals."""

    def answer(result: Any) -> Answer:
        rows = table(result)
        return {"rows": rows.num_rows, **{name: _sum(rows[name]) for name in columns}}

    return answer


def _sum(column: Any) -> str:
    import pyarrow.compute as pc

    return f"{pc.sum(column).as_py() or 0:.2f}"


def digest(result: Any) -> Answer:
    """An answer: the length and the digest of bytes, or of the file that a path names."""
    if isinstance(result, Path):
        with result.open("rb") as file:
            return {"bytes": result.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
    content = memoryview(result)
    return {"bytes": content.nbytes, "sha256": hashlib.sha256(content).hexdigest()}


def listed(sizes: Iterable[int]) -> Answer:
    """An answer: how many objects, and how large they are together."""
    found = list(sizes)
    return {"keys": len(found), "bytes": sum(found)}


def held(result: Any) -> int:
    """The memory of a result in bytes; 0 where it has none to speak of."""
    if hasattr(result, "estimated_size"):  # polars
        return int(result.estimated_size())
    if hasattr(result, "memory_usage"):  # pandas
        return int(result.memory_usage(deep=True).sum())
    if hasattr(result, "get_total_buffer_size"):  # Arrow
        return int(result.get_total_buffer_size())
    try:
        return memoryview(result).nbytes
    except TypeError:
        return 0
