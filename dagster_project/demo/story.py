"""The demo's story, in chapters: each shows something that has just happened, and checks it.

The numbers come from the run, and are compared with the source's CSV, which `referee` reads once more with nothing but
Python's own `csv`. Where they differ, the demo fails.
"""

from __future__ import annotations

import sys
import time
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Final

from tierlake.connector import LakeFileSystem
from tierlake.connector.bucket import remote_tiers
from tierlake.dagster_project.demo import headless, readings
from tierlake.dagster_project.demo.bill import TEN_TB
from tierlake.dagster_project.demo.datasets import DATASETS
from tierlake.dagster_project.demo.stage import BUCKET, DAGSTER_HOME, TODAY, DemoFailed
from tierlake.pipelines import Dataset
from tierlake.pipelines.runtime import formatting

if TYPE_CHECKING:
    from pathlib import Path

    import dagster as dg

    from tierlake.dagster_project.demo.narrator import Narrator
    from tierlake.dagster_project.demo.referee import Referee

__all__ = ["Story", "run_story"]

FIRST, LAST = "2013-01-01", "2013-12-31"
HOLIDAY: Final = "2013-07-04"


def run_story(folder: Path, referee: Referee, narrator: Narrator) -> dict[str, Any]:
    """Run the story on a stage; returns its numbers.

    Args:
        folder: The stage's.
        referee: Knows the source's numbers.
        narrator: Tells it.

    Raises:
        DemoFailed: A number differs from the source's.
    """
    with headless.dagster_home(folder / DAGSTER_HOME) as instance:
        story = Story(instance, referee, narrator)
        story.run()
    return story.facts


class Story:
    """The chapters, in order.

    Attributes:
        facts: Its numbers, for programs.
    """

    def __init__(self, instance: dg.DagsterInstance, referee: Referee, narrator: Narrator) -> None:
        """Prepare it on the server that the environment names; nobody has written to it yet.

        Args:
            instance: The Dagster instance.
            referee: Knows the source's numbers.
            narrator: Tells it.
        """
        self.facts: dict[str, Any] = {}
        self._fs = LakeFileSystem()
        self._instance = instance
        self._referee = referee
        self._narrator = narrator

    def run(self) -> None:
        """All chapters.

        Raises:
            DemoFailed: A number differs from the source's.
        """
        began = time.monotonic()
        self.show_server()
        self.backfill()
        self.show_catalog()
        self.tier()
        expired = self.expire()
        self.undo(expired[0], still_gone=expired[1:])
        self.read()
        self.verify()
        self.facts["seconds"] = round(time.monotonic() - began, 1)
        self._narrator.say(f"\nAll of it took {self.facts['seconds']:.0f} seconds.")

    def show_server(self) -> None:
        """A server and a bucket, as they answer."""
        self._narrator.chapter("A real S3 server")
        fs = self._fs
        rules = fs.call_s3("get_bucket_encryption", Bucket=BUCKET)["ServerSideEncryptionConfiguration"]["Rules"]
        default = rules[0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"]
        _check("the bucket keeps versions", fs.is_versioned(BUCKET), expected=True)
        self._narrator.prose(
            f"{fs.profile.name} answers at {fs.settings.endpoint_url}. Its bucket {BUCKET} keeps versions and encrypts "
            f"by default ({default})."
        )
        if fs.profile.remote_tiers:
            places = {f"{tier} to {place['endpoint']}" for tier, place in remote_tiers(fs).items()}
            self._narrator.prose(f"What gets colder goes to another server: {', '.join(sorted(places))}.")
        self.facts["server"] = fs.profile.name

    def backfill(self) -> None:
        """The year through Dagster: one run, one commit."""
        self._narrator.chapter("A year of flights, through Dagster, in one run")
        began = time.monotonic()
        with self._narrator.during("Dagster runs flights_job: the year is sorted, partitioned and written"):
            run = headless.materialize(self._instance, "flights", FIRST, LAST)
        seconds = time.monotonic() - began
        total = self._flights.partitions(as_of=TODAY).total
        shown = headless.available(self._instance, "flights")
        self._narrator.prose(
            f"Run {run.run_id[:8]} wrote {formatting.count(total.rows)} flights into {total.partitions} "
            f"partitions, one a day, in one commit: {formatting.size(total.bytes)} in {seconds:.0f} s. "
            f"Dagster shows {len(shown)} days."
        )
        _check("rows", total.rows, self._referee.flights())
        _check("days that Dagster shows", list(shown), sorted(self._referee.days))
        self.facts |= {"rows": total.rows, "partitions": total.partitions, "bytes": total.bytes}
        self._derive()

    def _derive(self) -> None:
        """What comes of the flights, each asset in one run of its own."""
        months = FIRST[:7], LAST[:7]
        rows = {}
        for asset, keys, unit in (
            ("weather", months, "months"),
            ("departures", (FIRST, LAST), "days, each flight with the weather of its hour"),
            ("monthly_summary", months, "months"),
        ):
            with self._narrator.during(f"Dagster runs {asset}_job"):
                headless.materialize(self._instance, asset, *keys)
            total = self._dataset(asset).partitions().total
            rows[asset] = total.rows or self._dataset(asset).scan().count_rows()
            self._narrator.prose(f"And {asset}: {rows[asset]:,} rows in {total.partitions} {unit}.")
        with self._narrator.during("Dagster runs monthly_report_job: a picture a month"):
            headless.materialize(self._instance, "monthly_report", *months)
        pictures = sorted(self._fs.ls(f"lake://{BUCKET}/monthly_report", detail=False))
        self._narrator.prose(f"And monthly_report: {len(pictures)} pictures, from {pictures[0]} on.")
        _check("hours of weather", rows["weather"], self._referee.hours_of_weather())
        _check("departures", rows["departures"], self._referee.flights())
        summary = self._dataset("monthly_summary").to_pandas(columns=["flights", "cancelled"]).sum()
        _check("flights summed up", int(summary["flights"]), self._referee.flights())
        _check("cancelled flights", int(summary["cancelled"]), self._referee.cancelled())
        _check("pictures", len(pictures), 12)

    def show_catalog(self) -> None:
        """What lies where, how old it is, and what it costs."""
        self._narrator.chapter(f"The catalog, as if today were {TODAY}")
        self._narrator.say(self._flights.partitions(as_of=TODAY).render(4))

    def tier(self) -> None:
        """A plan with money saved, applied; readers notice nothing."""
        self._narrator.chapter("Tiering: warm after 30 days, cold after 90")
        flights = self._flights
        plan = flights.plan_tiering(as_of=TODAY)
        scale = TEN_TB / flights.partitions().total.bytes
        self._narrator.say(readings.tier_table(plan, scale))
        self._narrator.prose(
            f"That saves {formatting.money(plan.saved_monthly * scale)} a month, at 10 TB of these ages. "
            f"{formatting.partitions(len(plan.refused))} are past their retention already and are left to expiry."
        )
        self._narrator.prose(f"Prices: {plan.note}")
        with self._narrator.during(f"moving {formatting.partitions(len(plan.steps))}"):
            result = plan.apply(progress=sys.stderr.isatty())
        self._narrator.prose(f"Applied: {result}.")
        expected = {step.key: step.storage_class for step in plan.steps}
        if result.pending:
            began = time.monotonic()
            with self._narrator.during("the server's scanner moves what is tagged, within a minute"):
                readings.wait_for_classes(flights, expected)
            self._narrator.prose(f"The server moved them within {time.monotonic() - began:.0f} s.")
        classes = {str(part.key): part.storage_class for part in flights.partitions() if str(part.key) in expected}
        _check("storage classes", classes, expected)
        again, rows = flights.plan_tiering(as_of=TODAY), readings.rows_seen()
        self._narrator.prose(f"Planned again: {len(again.steps)} to move. Readers still see {rows:,} flights.")
        _check("rows after tiering", rows, self._referee.flights())
        _check("partitions that a second plan moves", len(again.steps), 0)
        self.facts |= {"tiered": len(result.done), "saved_monthly": plan.saved_monthly}

    def expire(self) -> list[str]:
        """One real tick of the sensor, and the run that it requests; returns the days that are gone."""
        self._narrator.chapter("Expiry after 300 days: one tick of Dagster's sensor, and the run it asks for")
        before = self._days()
        with self._narrator.during("Dagster's sensor looks, and flights_expiry runs"):
            tick = headless.tick_retention(self._instance, "flights")
        gone = sorted(before - self._days())
        shown, rows = headless.available(self._instance, "flights"), readings.rows_seen()
        self._narrator.prose(
            f"The tick asked for {tick.requested} run ({', '.join(run.run_id[:8] for run in tick.runs)}), which took "
            f"{len(gone)} days out of the table: {gone[0]} to {gone[-1]}. Dagster shows {len(shown)} days, readers see "
            f"{rows:,} flights, and the files wait 7 days for second thoughts."
        )
        _check("days expired", gone, sorted(day for day in self._referee.days if _is_past_retention(day)))
        _check("rows left", rows, self._referee.flights(without=gone))
        _check("days that Dagster shows", set(shown), self._days())
        second = headless.tick_retention(self._instance, "flights")
        _check("runs that a second tick asks for", second.requested, 0)
        self.facts["expired"] = len(gone)
        return gone

    def undo(self, day: str, *, still_gone: list[str]) -> None:
        """One partition comes back, with all its rows."""
        self._narrator.chapter(f"Undo: {day} comes back")
        with self._narrator.during("Dagster runs the undo"):
            headless.undo(self._instance, "flights", day)
        shown, rows = headless.available(self._instance, "flights"), readings.rows_seen()
        self._narrator.prose(f"{self._flights.explain(f'date={day}', as_of=TODAY)}")
        self._narrator.prose(f"Dagster shows {len(shown)} days, readers see {rows:,} flights.")
        _check("rows after undo", rows, self._referee.flights(without=still_gone))
        _check("days that Dagster shows", set(shown), self._days())

    def read(self) -> None:
        """pandas, and the same from the CSV by hand."""
        self._narrator.chapter("pandas reads it like any other Parquet")
        self._narrator.say(f"{readings.PANDAS}\n")
        answer = readings.with_pandas()
        expected = self._referee.mean_delays(HOLIDAY)
        rows = [
            (origin, f"{answer['size'][origin]}", f"{answer['mean'][origin]:.4f}", f"{flights}", f"{mean:.4f}")
            for origin, (flights, mean) in expected.items()
        ]
        self._narrator.say(formatting.table_text(["origin", ">size", ">mean", ">in the CSV", ">mean"], rows))
        self._narrator.say(f"the CSV, read with Python's own csv module: {self._referee.flights_csv}")
        _check("origins", sorted(answer.index), list(expected))
        for origin, (flights, mean) in expected.items():
            _check(f"flights from {origin}", int(answer["size"][origin]), flights)
            _check(f"mean delay from {origin}", round(float(answer["mean"][origin]), 9), round(mean, 9))

    def verify(self) -> None:
        """All that is committed is there, and as the policy demands."""
        self._narrator.chapter(
            "verify: all that is committed is there, encrypted, and in a class that the policy allows"
        )
        for name in DATASETS:
            report = self._dataset(name).verify(as_of=TODAY)
            self._narrator.say(f"{name}: {report}")
            _check(f"problems in {name}", report.problems, ())

    @property
    def _flights(self) -> Dataset:
        return self._dataset("flights")

    def _dataset(self, name: str) -> Dataset:
        return Dataset.open(f"lake://{BUCKET}/{name}", fs=self._fs)

    def _days(self) -> set[str]:
        return {part.key.as_dict()["date"] for part in self._flights.partitions(as_of=TODAY)}


def _is_past_retention(day: str) -> bool:
    """By hand: a day ends where the next one begins, and 300 days later it is time."""
    return date.fromisoformat(day) + timedelta(days=1 + 300) <= date.fromisoformat(TODAY)


def _check(name: str, value: object, expected: object) -> None:
    if value != expected:
        raise DemoFailed(f"{name}: {value}, but it should be {expected}", hint="this is a bug in tierlake")
