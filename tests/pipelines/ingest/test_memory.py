"""Memory goes by the configuration, not by the size of the input."""

import pytest

from benchmarks.harness import Plan, measured
from benchmarks.interpreters import Interpreters
from benchmarks.model import Options
from benchmarks.works import WORKS

MEGABYTES = 500
BUDGET_MIB = 192
"""Of the rows that wait and the files that are sent, as `WriterLimits` has it by default."""

PROCESS_MIB = 498
"""What Python, the libraries, the CSV reader and the encoders take besides: seen under 450.

Together they are half of what deltalake's own writer takes for this file (1,379 MiB)."""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_500_mb_of_csv_in_all_days_of_a_year(tmp_path):
    options = Options(tmp_path, tmp_path, megabytes=MEGABYTES)
    result = measured(WORKS["csv"], Plan(options, Interpreters(), rounds=0, only=("tierlake",)))
    assert result.contenders["tierlake"].peak < (BUDGET_MIB + PROCESS_MIB) << 20
