"""Figures for a person: stats."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import click

from tierlake.connector import observe
from tierlake.connector.errors import InvalidSetting
from tierlake.connector.redact import printable
from tierlake.pipelines.cli import options
from tierlake.pipelines.cli.options import Session, with_session
from tierlake.pipelines.model.spec import TIER_ORDER
from tierlake.pipelines.runtime import formatting

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tierlake.connector.observe.tally import Requests
    from tierlake.pipelines.lifecycle.figures import Figures

__all__ = ["requests_text", "stats"]

_HEADINGS: Final = (
    *("operation", ">requests", ">errors", ">retries", ">slowed"),
    *(">sent", ">received", ">p50", ">p95", ">p99"),
)
_NAME_WIDTH: Final = 21
_MILLISECONDS: Final = 1000
_SECOND: Final = 1.0


@click.command()
@click.argument("place", metavar="DATASET|URL")
@options.as_of
@click.option("--objects", is_flag=True, help="Also count incomplete uploads and unencrypted files: a request each.")
@options.all_rows
@with_session
def stats(session: Session, place: str, *, as_of: str | None, objects: bool) -> None:
    """Show figures: bytes by tier, what is due, requests and times.

    Of a DATASET they are computed, with the requests that this takes. http://HOST:PORT is a running process with
    TIERLAKE_METRICS=prometheus:PORT, and shows those of the process. Requests of deltalake's own are not counted.
    """
    if place.startswith(("http://", "https://")):
        _running(session, place)
        return
    from tierlake.connector.observe.tally import Tally

    tally = Tally()
    observe.add(tally)
    try:
        figures = session.dataset(place).figures(as_of, uploads=objects, encryption=objects)
    finally:
        observe.remove(tally)
    operations, total = tally.operations(), tally.total()
    document = {"figures": figures, "requests": operations, "total": total}
    session.out.emit(document, lambda: f"{figures}\n\n{requests_text(operations, total)}")


def _running(session: Session, url: str) -> None:
    from tierlake.connector.observe.scrape import scrape

    shown = scrape(url)
    try:
        datasets = [_figures(uri, gauges) for uri, gauges in sorted(shown.gauges.items())]
    except (OverflowError, ValueError) as error:
        raise InvalidSetting(f"{url} shows a time that is none: {error}") from error
    document = {"figures": datasets, "requests": shown.operations, "total": shown.total}
    parts = [*map(str, datasets), requests_text(shown.operations, shown.total)]
    session.out.emit(document, lambda: "\n\n".join(parts))


def _figures(uri: str, gauges: Mapping[tuple[str, str], float]) -> Figures:
    """A dataset's figures, as far as gauges have them."""
    from tierlake.pipelines.lifecycle.figures import MIXED, Figures, TierFigures

    def of_tier(name: str, tier: str) -> int | None:
        value = gauges.get((name, tier))
        return None if value is None else int(value)

    def own(name: str) -> int | None:
        return of_tier(name, "")

    shown = [tier for tier in (*TIER_ORDER, MIXED) if ("partition_count", tier) in gauges]
    age = gauges.get(("checkpoint_age_seconds", ""))
    return Figures(
        uri=printable(uri),
        as_of=datetime.fromtimestamp(gauges.get(("figures_timestamp_seconds", ""), 0.0), UTC),
        tiers={
            tier: TierFigures(
                partitions=of_tier("partition_count", tier) or 0,
                rows=of_tier("stored_rows", tier),
                bytes=of_tier("stored_bytes", tier) or 0,
                monthly_cost=None,
                monthly_hot=None,
            )
            for tier in shown
        },
        expiry_backlog=own("expiry_backlog"),
        tiering_backlog=own("tiering_backlog") or 0,
        saved_monthly=gauges.get(("saved_dollars_per_month", "")),
        checkpoint_age=None if age is None else timedelta(seconds=age),
        incomplete_uploads=own("incomplete_upload_count"),
        unencrypted_objects=own("unencrypted_object_count"),
    )


def requests_text(operations: Sequence[Requests], total: Requests) -> str:
    """Requests as a table of at most 100 columns, for thousands of them.

    Args:
        operations: By operation.
        total: All of them.
    """
    return formatting.table_text(_HEADINGS, map(_row, operations), footer=_row(total))


def _row(one: Requests) -> tuple[str, ...]:
    name = one.operation if len(one.operation) <= _NAME_WIDTH else f"{one.operation[: _NAME_WIDTH - 1]}…"
    return (
        name,
        *map(formatting.count, (one.requests, one.errors, one.retries, one.throttles)),
        *map(formatting.size, (one.sent_bytes, one.received_bytes)),
        *map(_time, (one.p50, one.p95, one.p99)),
    )


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    if seconds >= _SECOND:
        return f"{seconds:.1f} s"
    return f"{seconds * _MILLISECONDS:.0f} ms" if seconds >= 1 / _MILLISECONDS else "<1 ms"
