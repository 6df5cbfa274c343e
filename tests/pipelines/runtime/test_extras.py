"""Where an extra is missing, the error is a line with what to install."""

import sys
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from tierlake.pipelines.errors import PackageMissing
from tierlake.pipelines.lifecycle.plan import TieringPlan
from tierlake.pipelines.query.catalog import Catalog
from tierlake.pipelines.query.read import pandas_frame, polars_frame
from tierlake.pipelines.runtime.extras import needing

AS_OF = datetime(2014, 1, 1, tzinfo=UTC)
CATALOG = Catalog([], as_of=AS_OF)
PLAN = TieringPlan(uri="lake://warehouse/flights", version=1, as_of=AS_OF)
CHARTS = ("runtime.charts", "query.catalog_plot", "lifecycle.plan_plot")


@pytest.mark.parametrize(
    ("package", "call", "message"),
    [
        ("matplotlib", CATALOG.plot, "Catalog.plot() needs matplotlib, .* pip install 'tierlake.plot.'"),
        ("matplotlib", PLAN.plot, "TieringPlan.plot() needs matplotlib, .* pip install 'tierlake.plot.'"),
        ("pandas", CATALOG.to_pandas, "Catalog.to_pandas() needs pandas, .* pip install 'tierlake.pandas.'"),
        ("polars", PLAN.to_polars, "TieringPlan.to_polars() needs polars, .* pip install 'tierlake.polars.'"),
        (
            "pandas",
            lambda: pandas_frame(pa.table({})),
            "a pandas frame needs pandas, .* pip install 'tierlake.pandas.'",
        ),
        (
            "polars",
            lambda: polars_frame(pa.table({})),
            "a polars frame needs polars, .* pip install 'tierlake.polars.'",
        ),
    ],
)
def test_the_error_says_what_to_install(package, call, message, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
        monkeypatch.delitem(sys.modules, module)
    for module in CHARTS:
        monkeypatch.delitem(sys.modules, f"tierlake.pipelines.{module}", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(PackageMissing, match=message.replace("()", r"\(\)")) as caught:
        call()
    assert isinstance(caught.value, ModuleNotFoundError)
    assert "\n" not in str(caught.value)


def test_what_a_package_itself_cannot_import_is_reported_as_it_is() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_part"), needing("pandas", "this"):
        import no_such_part  # noqa: F401
