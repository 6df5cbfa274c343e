"""Where the steps of a run work, chosen by configuration: the same jobs on a laptop and on a cluster.

    defs = dg.Definitions(..., executor=chosen_executor())

`TIERLAKE_EXECUTOR` is a name (`in_process`, `multiprocess`, `dask`, `k8s`, `celery`), or a YAML file with the name and
the executor's own configuration:

    dask:
      cluster: {existing: {address: {env: DASK_SCHEDULER}}}

Any other executor goes by where it is, as `dagster_docker.docker_executor`. `docs/executors.md` has which one removes
which limit. The libraries come with the extra `executors`.
"""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from tierlake.connector.documents import UnreadableDocument, yaml_document
from tierlake.connector.observe.edges import reporting
from tierlake.pipelines.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["VARIABLE", "chosen_executor"]

VARIABLE: Final = "TIERLAKE_EXECUTOR"

_PLACES: Final = {
    "in_process": "dagster.in_process_executor",
    "multiprocess": "dagster.multiprocess_executor",
    "dask": "tierlake.dagster_project.executors.dask.dask_executor",
    "k8s": "dagster_k8s.k8s_job_executor",
    "celery": "dagster_celery.celery_executor",
}


@reporting
def chosen_executor(environ: Mapping[str, str] = os.environ) -> dg.ExecutorDefinition | None:
    """The executor that the environment names.

    Args:
        environ: The variables, with `TIERLAKE_EXECUTOR` among them.

    Returns:
        None where it names none: Dagster's own choice, one process a step.

    Raises:
        SpecError: There is no such executor, its package is not installed, or the file does not name one. The
            configuration itself is checked when a run uses it, as Dagster does with every executor.
    """
    choice = environ.get(VARIABLE)
    if not choice:
        return None
    name, config = _of_file(Path(choice)) if choice.endswith((".yaml", ".yml")) else (choice, None)
    executor = _executor(name)
    return executor.configured(config, name=executor.name) if config is not None else executor


def _of_file(path: Path) -> tuple[str, Any]:
    try:
        document = yaml_document(path.read_bytes())
    except (OSError, UnreadableDocument) as error:
        raise SpecError(f"{VARIABLE} names {path}, which cannot be read: {error}") from error
    if not isinstance(document, dict) or len(document) != 1:
        raise SpecError(f"{path} has to name one executor", hint="multiprocess: {max_concurrent: 4}")
    ((name, config),) = document.items()
    if (field := _with_password(config)) is not None:
        message = f"{path}: {field} must not hold a user name or password: Dagster stores what it is given"
        raise SpecError(message, hint=f"write {field}: {{env: NAME}}")
    return str(name), config


def _with_password(config: Any, at: str = "it") -> str | None:
    """The first field that holds a URL with a user name or password."""
    if isinstance(config, str):
        return at if "@" in config.partition("://")[2].partition("/")[0] else None
    if isinstance(config, dict):
        within = [(value, str(name)) for name, value in config.items()]
    else:
        within = [(value, at) for value in config] if isinstance(config, list) else []
    return next((field for value, name in within if (field := _with_password(value, name)) is not None), None)


def _executor(name: str) -> dg.ExecutorDefinition:
    module, _, attribute = _PLACES.get(name, name).rpartition(".")
    try:
        executor = getattr(import_module(module), attribute)
    except (AttributeError, ImportError, ValueError) as error:
        hint = (
            "pip install 'tierlake[executors]'" if name in _PLACES else f"one of {', '.join(_PLACES)}, or its full name"
        )
        raise SpecError(f"there is no executor {name}: {error}", hint=hint) from error
    if not isinstance(executor, dg.ExecutorDefinition):
        raise SpecError(f"{name} is not an executor", hint=f"one of {', '.join(_PLACES)}, or its full name")
    return executor
