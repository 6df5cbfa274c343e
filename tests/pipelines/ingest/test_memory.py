"""Memory goes by the configuration, not by the size of the input."""

import pytest

from tests import ROOT

BENCHMARKS = ROOT / "benchmarks"

MEGABYTES = 500
BUDGET_MIB = 256
"""Of the rows that wait, as `WriterLimits` has it by default."""

PROCESS_MIB = 600
"""What Python, the libraries, the CSV reader and the encoders take besides: seen under 450."""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_500_mb_of_csv_in_all_days_of_a_year(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    from bench_memory import run

    took = run(["ours"], MEGABYTES, tmp_path)["ours"]
    assert took["peak_mib"] < BUDGET_MIB + PROCESS_MIB
