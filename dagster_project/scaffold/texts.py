"""The files of a scaffold, as text: the component in YAML or in Python, its source, and the project's resources."""

from __future__ import annotations

import textwrap
from string import Template
from typing import TYPE_CHECKING, Any, Final

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tierlake.dagster_project.scaffold.fields import ScaffoldField

__all__ = ["component_python", "component_yaml", "resources_python", "source_python"]

_WIDTH: Final = 110

_YAML_HEAD: Final = """\
# The dataset `$key`, with its checks, jobs, schedule and sensor. `dg check yaml` and `dg check defs` find mistakes.
# Change first: $first. What is commented out has its default.
type: $type

attributes:
"""

_PYTHON_HEAD: Final = '''\
"""The dataset `$key`, with its checks, jobs, schedule and sensor. `dg check defs` finds mistakes.

Change first: $first. What is commented out has its default.
"""

import dagster as dg

from $module import $name


@dg.component_instance
def load(context: dg.ComponentLoadContext) -> $name:
    return $name(
'''

_SOURCE: Final = '''\
"""The rows of `$key`. These are made up: replace what `read` returns by your own."""

from datetime import UTC, timedelta

import dagster as dg
import pyarrow as pa

STATIONS = ("north", "south")


def read(context: dg.AssetExecutionContext) -> pa.Table:
    """Temperatures that two stations measure, in °C; sample rows, the same whenever they are read.

    This text is the asset's description in the UI, as long as the component has none of its own.
    """
    # A run may cover many partitions, as a backfill does: rows from the first one's start to the last one's end.
    # Rows outside of these times are refused.
    window = context.partition_time_window
    start, end = window.start.astimezone(UTC), window.end.astimezone(UTC)

    # Yours: pandas.read_csv("my.csv"), polars.scan_parquet(...), a query or an API's answer, restricted to the window.
    # pandas, polars and Arrow are stored as they are; for more than fits in memory return an iterator of batches.
    times = [start + $step * number for number in range((end - start) // $step)]
    rows = [
        {"$column": time, "station": station, "celsius": 10 + (time.hour - 6) % 12 + place}
        for time in times
        for place, station in enumerate(STATIONS)
    ]
    schema = pa.schema([("$column", pa.timestamp("us", "UTC")), ("station", pa.string()), ("celsius", pa.int64())])
    return pa.Table.from_pylist(rows, schema)
'''

_STEPS: Final = {"hour": "timedelta(minutes=10)", "day": "timedelta(hours=1)"}

_RESOURCES: Final = '''\
"""The project's lake: where all its datasets are, and with which credentials.

As long as the environment names no store, it is a server on this machine: it starts when a run, a sensor or a check
first needs it, stops a minute after the last, and keeps its data in .lake/ of this project (it needs
`pip install 'tierlake[server]'`). To use another, set in the environment, or in the file .env beside pyproject.toml:

    MinIO    TIERLAKE_ENDPOINT_URL=https://minio.example.com  TIERLAKE_WAREHOUSE=lake://my-bucket
             AWS_ACCESS_KEY_ID=...  AWS_SECRET_ACCESS_KEY=...
    AWS      TIERLAKE_WAREHOUSE=lake://my-bucket              (credentials as any AWS client finds them)

`tierlake bucket apply` makes a bucket as it should be, and `tierlake doctor` says what a server can do.
"""

from pathlib import Path

import dagster as dg

from tierlake import LakeParquetIOManager, LakeResource

PROJECT = Path(__file__).resolve().parents[$levels]

lake = LakeResource(embedded_server=str(PROJECT / ".lake"))


@dg.definitions
def $function() -> dg.Definitions:
    return dg.Definitions(resources={"lake": lake, "lake_io_manager": LakeParquetIOManager(lake=lake)})
'''


def component_yaml(type_name: str, fields: Iterable[ScaffoldField], first: str) -> str:
    """The file `defs.yaml`.

    Args:
        type_name: The component's.
        fields: Its fields.
        first: What to change first.
    """
    fields = list(fields)
    blocks = [
        "\n".join([*_comment(field.comment, "  "), f"  {_mark(field)}{field.name}: {_flow(field.value)}"])
        for field in fields
    ]
    head = Template(_YAML_HEAD).substitute(type=type_name, key=fields[0].value, first=first)
    return head + "\n\n".join(blocks) + "\n"


def component_python(type_name: str, fields: Iterable[ScaffoldField], first: str) -> str:
    """The file `component.py`.

    Args:
        type_name: The component's.
        fields: Its fields.
        first: What to change first.
    """
    fields = list(fields)
    module, _, name = type_name.rpartition(".")
    lines: list[str] = []
    for field in fields:
        assignment = f"        {_mark(field)}{field.name}={_literal(field.value)},"
        lines += [*_comment(field.comment, " " * 8), assignment]
    head = Template(_PYTHON_HEAD).substitute(key=fields[0].value, first=first, module=module, name=name)
    return head + "\n".join(lines) + "\n    )\n"


def source_python(key: str, column: str, every: str) -> str:
    """The file `source.py`: sample rows of any time.

    Args:
        key: The asset's key.
        column: The time column.
        every: The width of a partition.
    """
    return Template(_SOURCE).substitute(key=key, column=column, step=_STEPS.get(every, "timedelta(days=1)"))


def resources_python(function: str, levels: int) -> str:
    """The file with the project's resources.

    Args:
        function: The name of the function that returns them.
        levels: How far above the file's folder the project's is.
    """
    return Template(_RESOURCES).substitute(function=function, levels=levels)


def _mark(field: ScaffoldField) -> str:
    return "" if field.is_set else "# "


def _comment(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")


def _flow(value: Any) -> str:
    """The value in one line of YAML."""
    text = yaml.safe_dump(value, default_flow_style=True, width=float("inf"), sort_keys=False, allow_unicode=True)
    return text.removesuffix("...\n").strip()


def _literal(value: Any) -> str:
    """The value in one line of Python, with the quotes that formatters write."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_literal(name)}: {_literal(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_literal, value)) + "]"
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' if isinstance(value, str) else repr(value)
