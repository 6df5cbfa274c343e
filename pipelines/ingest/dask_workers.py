"""Work on a Dask cluster: small tasks go out, values come back, and workers never commit.

A worker that dies only costs time: Dask gives its tasks to others, and the files that it wrote are orphans, which
`vacuum` deletes. Workers must be spawned, not forked (Dask's own default).
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from tierlake.connector.interop import Options
from tierlake.pipelines.errors import SpecError
from tierlake.pipelines.metastore.handle import Handle
from tierlake.pipelines.metastore.journal import Journal
from tierlake.pipelines.runtime.clock import ServerClock
from tierlake.pipelines.runtime.handed_on import handed_on
from tierlake.pipelines.tables import table_of_format

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tierlake.pipelines.model.spec import DatasetSpec

__all__ = ["Engine", "Place", "Workers", "connected", "threads_of_this_worker"]

Engine = Literal["local", "dask"]
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Place:
    """What a worker needs to reach a dataset.

    Attributes:
        options: Options of the filesystem that may write below the root, independent of the environment.
        spec: The description.
        format: The table's format.
    """

    options: Options
    spec: DatasetSpec
    format: str

    @classmethod
    def of(cls, handle: Handle) -> Place:
        """The address of an open dataset."""
        return cls(Options(handle.fs.dask_options()), handle.spec, handle.table.format)

    def open(self) -> Handle:
        """The dataset, on the worker; no request is made."""
        from tierlake.connector.filesystem import LakeFileSystem

        fs = LakeFileSystem(**self.options)
        table = table_of_format(fs, self.spec.root, self.format, self.spec.partition.columns)
        return Handle(fs, self.spec, table, None, Journal(fs, self.spec.root), ServerClock(fs, self.spec.bucket))


@dataclass(frozen=True, slots=True)
class Workers:
    """A Dask cluster.

    Attributes:
        client: `distributed.Client`, not an asynchronous one.
    """

    client: Any

    @classmethod
    def of(cls, engine: Engine, client: Any) -> Workers | None:
        """The requested cluster; None where this process does the work.

        Args:
            engine: `local` or `dask`.
            client: A Dask client; None takes the current one.

        Raises:
            SpecError: There is no client, or it cannot be used here.
        """
        if engine == "local":
            if client is not None:
                raise SpecError("a client is of no use to engine='local'", hint="say engine='dask'")
            return None
        if engine != "dask":
            raise SpecError(f"there is no engine {engine!r}", hint="engine is 'local' or 'dask'")
        if client is None:
            client = _current_client()
        if getattr(client, "asynchronous", False):
            raise SpecError("the client is asynchronous", hint="make one with Client(address)")
        return cls(client)

    @property
    def threads(self) -> int:
        """The threads of all workers; 1 where there is no worker yet."""
        counts: dict[str, int] = self.client.nthreads()
        return max(1, sum(counts.values()))

    def run(self, work: Callable[[T], R], tasks: Sequence[T]) -> Iterator[tuple[T, R]]:
        """Do each task on some worker.

        Args:
            work: A function of a module, so that it can be sent.
            tasks: Its arguments.

        Yields:
            Each task with its result, as it completes; the first failure is raised and cancels the others.
        """
        sent = handed_on(work, _span_name(work))
        yield from self._gathered([self.client.submit(sent, task, pure=False) for task in tasks], tasks)

    def run_in_order(self, work: Callable[[T], R], tasks: Sequence[T]) -> list[R]:
        """Do each task on some worker; all results in the order of the tasks."""
        done = {id(task): result for task, result in self.run(work, tasks)}
        return [done[id(task)] for task in tasks]

    def run_delayed(self, work: Callable[[T, Any], R], pairs: Sequence[tuple[T, Any]]) -> Iterator[tuple[T, R]]:
        """The same as `run`, for tasks with a part that the cluster computes (`dask.delayed`)."""
        from dask.delayed import delayed

        graph = [delayed(handed_on(work, _span_name(work)), pure=False)(task, part) for task, part in pairs]
        yield from self._gathered(self.client.compute(graph), [task for task, _ in pairs])

    def _gathered(self, futures: Sequence[Any], tasks: Sequence[T]) -> Iterator[tuple[T, Any]]:
        from distributed import as_completed

        numbers = {future.key: number for number, future in enumerate(futures)}
        try:
            finished: Any = as_completed(futures, loop=self.client.loop, with_results=True)  # type: ignore[no-untyped-call]
            for future, result in finished:
                yield tasks[numbers[future.key]], result
        finally:
            self.client.cancel(list(futures))


def _span_name(work: Callable[..., Any]) -> str:
    return f"dask.{getattr(work, '__name__', type(work).__name__).lstrip('_')}"


@contextmanager
def connected(address: str | None, patience_seconds: float = 10) -> Iterator[Any]:
    """A client of a Dask scheduler, for as long as it is needed.

    Args:
        address: The scheduler's, as `tcp://host:8786`; None: no client, this process does the work.
        patience_seconds: How long it may take to answer.

    Raises:
        SpecError: Dask is not installed, or no scheduler answers there.
    """
    if address is None:
        yield None
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise _without_dask() from error
    try:
        client: Any = Client(address, timeout=patience_seconds, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        hint = "`dask scheduler` starts one, on port 8786 by default, and `dask worker ADDRESS` its workers"
        raise SpecError(f"no Dask scheduler answers at {address}", hint=hint) from error
    with client:
        yield client


def _without_dask() -> SpecError:
    return SpecError("engine='dask' needs Dask", hint="pip install 'tierlake[dask]'")


def _current_client() -> Any:
    try:
        from distributed import get_client

        return get_client()
    except ImportError as error:
        raise _without_dask() from error
    except ValueError as error:
        hint = "distributed.Client() starts workers on this machine; client=... names another"
        raise SpecError("engine='dask' needs a Dask client, and there is none", hint=hint) from error


def threads_of_this_worker() -> int:
    """How many tasks share the memory of this process; 1 outside a worker."""
    from distributed import get_worker

    try:
        return int(get_worker().state.nthreads)
    except ValueError:
        return 1
