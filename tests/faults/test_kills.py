"""A writer that is killed at any of its requests leaves the state before or the state after, and can be run again."""

import itertools
import random

import pytest

from tests.faults.kills import AFTER_THE_GRACE, OPERATIONS, kill_points, prepared, run_killed

pytestmark = pytest.mark.usefixtures("engine")

FORMATS = {
    "delta": list(OPERATIONS),
    "parquet": ["ingest", "tier", "expire", "undo", "erase", "vacuum", "apply", "undrop"],
}
WHEN = {"minio": "before", "seaweedfs": "after"}
CASES = [(table_format, name) for table_format, names in FORMATS.items() for name in names]
EVERY = [
    pytest.param(server, case, id="-".join((server, *case)))
    for server, case in zip(itertools.cycle(WHEN), CASES, strict=False)
]


class Experiment:
    """Kills one operation of one format on one server, each time on a new dataset."""

    def __init__(self, server, bucket, table_format, name):
        self.server, self.bucket, self.format, self.name = server, bucket, table_format, name
        self.operation = OPERATIONS[name]
        self.number = 0
        place = self.fresh()
        self.before = place.by_lake()
        requests = run_killed(place, name, None, "before")
        self.points = len(kill_points(requests))
        self.after = place.by_lake()

    def fresh(self):
        self.number += 1
        return prepared(self.server, self.bucket, self.operation, self.number, self.format)

    def kill_at(self, request, when):
        place = self.fresh()
        run_killed(place, self.name, request, when)
        told = f"{self.format} {self.name} killed {when} request {request} of {self.points}"
        self.check_readers(place, told)
        self.operation.run(place.open(offset=self.operation.offset))
        assert place.by_lake() == self.after, f"{told}, then run again"
        vacuumed = place.open(offset=AFTER_THE_GRACE)
        vacuumed.vacuum()
        assert place.by_lake() == self.after, f"{told}, run again, then vacuumed"
        report = vacuumed.verify("2013-05-01")
        assert report.ok, f"{told}: {report}"
        assert report.orphans == 0, f"{told}: vacuum left {report.orphans} orphans"

    def check_readers(self, place, told):
        seen = place.by_lake()
        if self.format == "parquet":
            # one PUT or DELETE a partition: each is in one of its two states
            for day in self.before.keys() | self.after.keys():
                assert seen.get(day) in (self.before.get(day), self.after.get(day)), f"{told}: {day}"
            return
        assert seen in (self.before, self.after), told
        assert place.by_log() in (self.before, self.after), told


@pytest.fixture
def experiment(server, make_bucket, request):
    table_format, name = request.param
    return Experiment(server, make_bucket(versioned=table_format == "parquet"), table_format, name)


@pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)
@pytest.mark.parametrize("experiment", CASES, ids="-".join, indirect=True)
def test_a_sample_of_kill_points(experiment):
    """Before and after a request of Delta tables, after one of plain ones; every kill point is tried by `make soak`."""
    for when in ["before", "after"] if experiment.format == "delta" else ["after"]:
        chance = random.Random(f"{experiment.format}{experiment.name}{when}")  # noqa: S311 - the same each time
        experiment.kill_at(chance.randrange(experiment.points), when)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("server", "experiment"), EVERY, indirect=True)
def test_every_kill_point(experiment):
    """Before each request that changes something, or after it, which is before the next."""
    when = WHEN[experiment.server.name]
    for request in range(experiment.points):
        experiment.kill_at(request, when)
