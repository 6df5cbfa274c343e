"""All that we use of Dagster beyond its public interface: no other module imports from `dagster._core` or the like.

Tried with Dagster 1.13.27. `pyproject.toml` caps Dagster below its next minor version, and
`tests/test_private_parts.py` names each part, so that the release that changes one is named as well.
"""

# ruff: noqa: SLF001 -- this is the place for it
from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

import dagster as dg
from dagster._core.definitions.data_version import DATA_VERSION_TAG
from dagster._core.definitions.metadata import RawMetadataValue
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.definitions.resource_requirement import ResourceKeyRequirement
from dagster._core.events import AssetWipedData
from dagster._core.execution.context.metadata_logging import AssetMetadataHandle, OutputMetadataAccumulator
from dagster._core.instance.utils import RUNLESS_JOB_NAME, RUNLESS_RUN_ID
from dagster._core.storage.event_log.schema import (
    AssetEventTagsTable,
    AssetKeyTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.partition_status_cache import AssetStatusCacheValue, get_and_update_asset_status_cache_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

__all__ = [
    "DATA_VERSION_TAG",
    "RUNLESS_JOB_NAME",
    "RUNLESS_RUN_ID",
    "RUN_ENDS",
    "STEP_ENDS",
    "TESTED_DAGSTER_VERSION",
    "AssetEventTagsTable",
    "AssetKeyTable",
    "AssetMetadataHandle",
    "AssetStatusCacheValue",
    "AssetWipedData",
    "RawMetadataValue",
    "ReconstructableRepository",
    "SqlEventLogStorage",
    "SqlEventLogStorageTable",
    "add_event_listener",
    "explain_missing_resources",
    "get_and_update_asset_status_cache_value",
    "is_running_copy",
    "is_tested_version",
    "output_metadata",
    "remove_event_listener",
    "replace_output_metadata",
    "replace_resource_schema",
    "resource_schema",
]

TESTED_DAGSTER_VERSION: Final = "1.13.27"
"""The parts were tried on this version; other patch releases of its minor version are taken as equal."""


STEP_ENDS: Final = frozenset(
    {
        dg.DagsterEventType.STEP_SUCCESS,
        dg.DagsterEventType.STEP_FAILURE,
        dg.DagsterEventType.STEP_UP_FOR_RETRY,
    }
)
"""Events that are the last one of a step, or of its attempt."""

RUN_ENDS: Final = frozenset(
    {dg.DagsterEventType.RUN_SUCCESS, dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_CANCELED}
)
"""Events that are the last one of a run."""


def is_tested_version() -> bool:
    """Whether the installed Dagster has the minor version that the parts are known from."""
    return dg.__version__.split(".")[:2] == TESTED_DAGSTER_VERSION.split(".")[:2]


def add_event_listener(instance: dg.DagsterInstance, run_id: str, listener: Callable[[dg.EventLogEntry], None]) -> None:
    """Call a function with each event of a run that this process stores, in the thread that stores it.

    One that equals another is not added, and none on another minor version.
    """
    listeners = _event_listeners(instance, run_id)
    if listeners is not None and listener not in listeners:
        instance.add_event_listener(run_id, listener)


def remove_event_listener(instance: dg.DagsterInstance, run_id: str, listener: Any) -> None:
    """Call it no more; it may be the one that is called now."""
    listeners = _event_listeners(instance, run_id)
    if listeners is not None:
        instance._subscribers[run_id] = [one for one in listeners if one is not listener]


def _event_listeners(instance: dg.DagsterInstance, run_id: str) -> list[Any] | None:
    known = getattr(instance, "_subscribers", None)
    return known[run_id] if is_tested_version() and isinstance(known, defaultdict) else None


def output_metadata(step: Any) -> Mapping[Any, Mapping[str, Any]] | None:
    """The metadata that a running step has noted, by AssetMetadataHandle; None where Dagster keeps it another way."""
    noted = getattr(step, "_metadata_accumulator", None)
    if not is_tested_version() or not isinstance(noted, OutputMetadataAccumulator):
        return None
    return noted.per_output_metadata


def replace_output_metadata(step: Any, metadata: Mapping[Any, Mapping[str, Any]]) -> None:
    """Replace all that a running step has noted."""
    step._metadata_accumulator = OutputMetadataAccumulator(per_output_metadata=metadata)


def resource_schema(resource: dg.ConfigurableResource[Any]) -> Any:
    """The schema of a resource's configuration."""
    return resource._state__internal__.config_schema


def replace_resource_schema(resource: dg.ConfigurableResource[Any], schema: Any) -> None:
    """Give a resource another schema of its configuration."""
    resource._state__internal__ = resource._state__internal__._replace(config_schema=schema)


def is_running_copy(resource: dg.ConfigurableResource[Any]) -> bool:
    """Whether a resource is the copy that a run made of it, with the values of environment variables in it."""
    return resource._state__internal__.resource_context is not None


class _Explained(ResourceKeyRequirement):
    """A job's requirement of a resource, with an explanation of ours where it is missing."""

    key = ""  # each has its own

    def __init__(self, key: str, required: AbstractSet[str], explanation: Callable[[Iterable[str]], str]) -> None:
        self.key = key
        self._required = required
        self._explanation = explanation

    def describe_requirement(self) -> str:
        return f"resource with key '{self.key}'"

    def ensure_satisfied(self, resource_defs: Mapping[str, Any]) -> None:
        if missing := self._required - resource_defs.keys():
            raise dg.DagsterInvalidDefinitionError(self._explanation(missing))
        super().ensure_satisfied(resource_defs)


def explain_missing_resources(
    jobs: Iterable[Any], required: AbstractSet[str], explanation: Callable[[Iterable[str]], str]
) -> None:
    """Let Dagster say more than its own words where a code location lacks resources that some jobs need.

    Dagster looks at the jobs of a code location before it looks at its assets, sensors and checks.

    Args:
        jobs: The jobs; what Dagster resolves later by itself is passed by.
        required: Keys of the resources that they, and what belongs to them, need.
        explanation: Makes a text of the keys that are missing.
    """
    for job in jobs:
        graph = getattr(job, "graph", None)
        if isinstance(graph, dg.GraphDefinition) and is_tested_version():
            graph.__dict__["get_resource_requirements"] = _explained(graph, required, explanation)


def _explained(
    graph: dg.GraphDefinition, required: AbstractSet[str], explanation: Callable[[Iterable[str]], str]
) -> Callable[..., Sequence[Any]]:
    requirements = graph.get_resource_requirements

    def explained(*args: Any, **kwargs: Any) -> Sequence[Any]:
        every = list(requirements(*args, **kwargs))
        return [
            _Explained(each.key, required, explanation)
            if isinstance(each, ResourceKeyRequirement) and each.key in required
            else each
            for each in every
        ]

    return explained
