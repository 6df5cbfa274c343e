"""Where a library ends the process: what SECURITY.md says of it is true, and is taken out when it is true no longer.

Each runs in a process of its own, which dies.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake

DEEP = 100_000
INT64, BYTE_ARRAY = b"\x15\x04\x19", b"\x15\x0c\x19"
"""The types, as the metadata of a column chunk begins."""
OPEN_TABLE = "import sys, deltalake; deltalake.DeltaTable(sys.argv[1])"
LOOK_AT_CHUNKS = "import sys, pyarrow.parquet as pq; pq.read_metadata(sys.argv[1]).row_group(0).column(0).statistics"


def death_of(code: str, path: Path) -> int:
    return subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, timeout=60, check=False
    ).returncode


@pytest.mark.slow
def test_deltalake_has_no_bound_for_nesting(tmp_path):
    write_deltalake(str(tmp_path), pa.table({"a": [1]}))
    deep = b'{"protocol": ' + b"[" * DEEP + b"]" * DEEP + b"}"
    (tmp_path / "_delta_log" / f"{1:020d}.json").write_bytes(deep)
    assert death_of(OPEN_TABLE, tmp_path) == -signal.SIGSEGV, "mended: SECURITY.md need not warn of it any more"


@pytest.mark.slow
def test_pyarrow_aborts_at_a_column_of_two_types(tmp_path):
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": pa.array([1], pa.int64())}), file, store_schema=False)
    before, in_schema, after = file.read_bytes().rpartition(INT64)
    assert in_schema
    file.write_bytes(before + BYTE_ARRAY + after)
    assert death_of(LOOK_AT_CHUNKS, file) == -signal.SIGABRT, "mended: SECURITY.md need not warn of it any more"
