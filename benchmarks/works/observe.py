"""What it costs to be observed: reads with logs, metrics and traces, with none of them, and without the seam itself.

`without the seam` is the same code whose requests and verbs go past what observes them. `baseline` is other code, from
before there was a seam, or of any commit: `git worktree add --detach /tmp/before COMMIT` and `--baseline /tmp/before`.
Differences are of a percent, so there are many rounds, and all processes start anew several times.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from benchmarks.model import LOOPBACK, Contender, Target, Work
from benchmarks.works import columns, files

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.model import Act, Measure, Place

STARTS = 6
OFF, LOGS, ALL = "tierlake", "tierlake, logs", "tierlake, logs, metrics, traces"
REMOVED, BASELINE = "without the seam", "baseline"
MEASURES: tuple[Measure, ...] = ("cpu", "seconds")
_LOGS: Mapping[str, str] = MappingProxyType({"TIERLAKE_LOG": "json"})  # to a file: the process's stderr is one
_ALL: Mapping[str, str] = MappingProxyType(
    {
        **_LOGS,
        "TIERLAKE_METRICS": "prometheus:127.0.0.1:{port}",
        "TIERLAKE_TRACES": "file:{folder}/trace.json",
    }
)
_BASELINE: Mapping[str, str] = MappingProxyType({"PYTHONPATH": "{baseline}/src:{root}"})


def without_the_seam(act: Callable[[Place], Act]) -> Callable[[Place], Act]:
    """A contender whose process has no seam: verbs and requests are as they were, and nothing is counted."""

    def start(place: Place) -> Act:
        _remove_the_seam()
        return act(place)

    return start


def _remove_the_seam() -> None:
    """Put what there was before in place of the seam; the filesystem must not have been imported yet."""
    from tierlake.connector import observe as room
    from tierlake.connector.observe import counting, verbs

    verbs.verb = lambda method, *_args: method
    for module in (room, counting):
        for name in ("count", "gauge"):
            setattr(module, name, lambda *_args, **_labels: None)

    from tierlake.connector.client import transport
    from tierlake.connector.client.native import NotUnderstoodError
    from tierlake.connector.profiles.detect import observe

    async def once(
        self: Any, client: Any, store: Any, operation: str, request: dict[str, Any], _number: int = 1
    ) -> Any:
        if store is not None:
            try:
                return await self._connection.native(client).request(store, operation, request)
            except NotUnderstoodError as reason:
                transport.logger.debug("%s by aiobotocore: %s", operation, reason)
        response = await getattr(client, operation)(**request)
        observe(client.meta.endpoint_url, response)
        return response

    transport.Transport._once = once  # type: ignore[assignment, method-assign]  # noqa: SLF001 - the seam is there


def _observed(work: Work, act: Callable[[Place], Act]) -> Work:
    return Work(
        f"observe-{work.name}",
        f"{work.title}, observed",
        work.prepare,
        (
            Contender(OFF, act, ("tierlake",)),
            Contender(LOGS, act, ("tierlake", "structlog"), variables=_LOGS, is_alone=True),
            Contender(ALL, act, ("tierlake", "structlog", "opentelemetry.sdk"), variables=_ALL, is_alone=True),
            Contender(REMOVED, without_the_seam(act), ("tierlake",), is_alone=True),
            Contender(BASELINE, act, ("tierlake",), variables=_BASELINE, is_alone=True),
        ),
        tuple(
            Target(most, (of,), measure, ours=ours)
            for ours, most, of in ((OFF, 1.01, REMOVED), (LOGS, 1.05, OFF), (ALL, 1.05, OFF))
            for measure in MEASURES
        ),
        links=(LOOPBACK,),
        answer=work.answer,
        starts=STARTS,
    )


COLUMNS = _observed(columns.WORK, columns.tierlake)
FILES = _observed(files.WORK, files.tierlake)
