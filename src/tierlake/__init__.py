"""tierlake: Parquet datasets in S3 or MinIO, cheap, encrypted and consistent.

The public door: what users type is here, and is imported from its room when it is first asked for, so that
`import tierlake` needs neither Arrow nor Dagster.

    from tierlake import Dataset, DatasetSpec, LakeFileSystem
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tierlake.connector import LakeError, LakeFileSystem, LakeSettings
    from tierlake.dagster_project.component import LakeDataset
    from tierlake.dagster_project.io_manager import LakeParquetIOManager
    from tierlake.dagster_project.resources.lake import LakeResource
    from tierlake.pipelines import Dataset, DatasetSpec
    from tierlake.pipelines.survey import survey

__all__ = [
    "Dataset",
    "DatasetSpec",
    "LakeDataset",
    "LakeError",
    "LakeFileSystem",
    "LakeParquetIOManager",
    "LakeResource",
    "LakeSettings",
    "survey",
]

_ROOMS = {
    "Dataset": "tierlake.pipelines",
    "DatasetSpec": "tierlake.pipelines",
    "LakeDataset": "tierlake.dagster_project.component",
    "LakeError": "tierlake.connector",
    "LakeFileSystem": "tierlake.connector",
    "LakeParquetIOManager": "tierlake.dagster_project.io_manager",
    "LakeResource": "tierlake.dagster_project.resources.lake",
    "LakeSettings": "tierlake.connector",
    "survey": "tierlake.pipelines.survey",
}

_MOVING_DATA = {"Dataset", "LakeFileSystem", "survey"}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_ROOMS[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    # Dagster resolves each of these when it loads anybody's definitions, which must not import Arrow and the like
    later = _MOVING_DATA if "dagster" in sys.modules else set()
    return sorted({*globals(), *(name for name in __all__ if name not in later)})
