"""The executor `dask`: each step of a run is a task on a Dask cluster, through `dagster-dask`.

What runs on a worker is `dagster-dask`'s own. How steps are handed over is not, for what its executor does (0.29):

- it names a task by job and step. Of two runs of one job at the same time on one cluster, the second takes the first
  one's results for its own and succeeds without having run (dagster issue 21418). Here the run's id is in the name.
- steps go on after one that they depend on has failed, and would read what an earlier run wrote. Here they do not run.
- a run whose steps have a pool fails (Dask looks into the run's record, which forbids that). Here Dask does not look.

As there, steps are not tried again, and only whole runs wait for a pool (`granularity: run`).
"""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeAlias

import dagster as dg

from tierlake.pipelines.runtime.handed_on import handed_on
from tierlake.pipelines.runtime.observing import observe_as_configured

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Done: TypeAlias = tuple[Sequence[dg.DagsterEvent], bool]

__all__ = ["DaskSteps", "dask_executor"]


class DaskSteps(dg.Executor):
    """Hands steps to a Dask cluster.

    Args:
        address: A scheduler's address; None starts workers on this machine.
        local: Options of `distributed.LocalCluster`, for these.
    """

    def __init__(self, address: str | None, local: dict[str, Any]) -> None:
        self._address = address
        self._local = {"threads_per_worker": 1, **local}  # a step expects a process of its own

    @property
    def retries(self) -> Any:
        """Steps are not tried again."""
        stock: Any = import_module("dagster_dask.executor")  # its types do not export what it imports
        return stock.RetryMode.DISABLED

    def execute(self, plan_context: Any, execution_plan: Any) -> Iterator[dg.DagsterEvent]:
        """Run the steps, each after those that it depends on.

        Args:
            plan_context: Dagster's, of this run.
            execution_plan: The steps.
        """
        from dagster_dask import executor as stock

        distributed: Any = import_module("distributed")  # has types in part
        if self._address is not None:
            with distributed.Client(self._address) as client:
                yield from self._steps(client, stock, plan_context, execution_plan)
            return
        with distributed.LocalCluster(**self._local) as cluster, distributed.Client(cluster) as client:
            yield from self._steps(client, stock, plan_context, execution_plan)

    @staticmethod
    def _steps(client: Any, stock: Any, plan_context: Any, execution_plan: Any) -> Iterator[dg.DagsterEvent]:
        distributed: Any = import_module("distributed")
        observe_as_configured()
        run, instance = plan_context.dagster_run, plan_context.instance.get_ref()
        tasks: dict[str, Any] = {}
        for step in (step for level in execution_plan.get_steps_to_execute_by_level() for step in level):
            work = handed_on(
                partial(
                    stock.query_on_dask_worker,
                    None,
                    plan_context.reconstructable_job,
                    run,
                    plan_context.run_config,
                    [step.key],
                    instance,
                    execution_plan.known_state,
                )
            )
            before = [tasks[key] for given in step.step_inputs for key in given.dependency_keys if key in tasks]
            resources = stock.get_dask_resource_requirements(step.tags)
            tasks[step.key] = client.submit(_after, before, work, key=f"{run.run_id}.{step.key}", resources=resources)
        ended = distributed.as_completed(tasks.values(), with_results=True)
        for _, (events, _) in stock.iterate_with_context(stock.raise_execution_interrupts, ended):
            yield from events


def _after(before: Sequence[Done], work: Callable[[], Sequence[dg.DagsterEvent]]) -> Done:
    """On a worker: a step's events, and whether it succeeded; none where one before it did not."""
    if not all(succeeded for _, succeeded in before):
        return [], False
    events = work()
    return events, not any(event.is_step_failure for event in events)


@dg.executor(
    name="dask",
    requirements=dg.multiple_process_executor_requirements(),
    config_schema={
        "cluster": dg.Field(
            dg.Selector(  # type: ignore[no-untyped-call] # Dagster gives it no types
                {
                    "existing": dg.Field({"address": dg.StringSource}, description="A scheduler that is running."),
                    "local": dg.Field(dict, description="Workers here; takes LocalCluster's parameters."),
                }
            ),
            default_value={"local": {}},
        )
    },
)
def dask_executor(init_context: dg.InitExecutorContext) -> DaskSteps:
    """Each step is a task on a Dask cluster."""
    import_module("dagster_dask")  # a missing package fails here, and not within the run
    cluster: Any = init_context.executor_config["cluster"]
    return DaskSteps(cluster.get("existing", {}).get("address"), cluster.get("local", {}))
