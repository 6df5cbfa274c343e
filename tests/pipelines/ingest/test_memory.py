"""Memory goes by the configuration, not by the size of the input."""

import pytest

from tests import ROOT

BENCHMARKS = ROOT / "benchmarks"

MEGABYTES = 500
BUDGET_MIB = 192
"""Of the rows that wait and the files that are sent, as `WriterLimits` has it by default."""

PROCESS_MIB = 498
"""What Python, the libraries, the CSV reader and the encoders take besides: seen under 450.

Together they are half of what deltalake's own writer takes for this file (1,379 MiB)."""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_500_mb_of_csv_in_all_days_of_a_year(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    from bench_memory import run

    took = run(["ours"], MEGABYTES, tmp_path)["ours"]
    assert took["peak_mib"] < BUDGET_MIB + PROCESS_MIB
