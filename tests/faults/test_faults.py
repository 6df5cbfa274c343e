"""What the network does to a writer: the work is done once, whole, or not at all."""

import pytest

from tests.faults.answers import Cut, LostReply, Refusal, Times
from tests.faults.kills import OPERATIONS, RUN_KEY, ended, fork_server, prepared
from tests.faults.proxy import Proxy

pytestmark = pytest.mark.usefixtures("engine")

DEADLINE_SECONDS = 60


def _work(place, endpoint_url):
    OPERATIONS["ingest"].run(place.open(endpoint_url))


def ingest_through(place, hook):
    """Run the ingest in a process of its own; deltalake's calls hold the GIL while they wait."""
    with Proxy(place.options["endpoint_url"], before=hook) as proxy:
        child = fork_server().Process(target=_work, args=(place, proxy.url))
        child.start()
        return ended(child, "the ingest", seconds=DEADLINE_SECONDS)


def log_puts(method, target):
    return "log" if method == "PUT" and "/_delta_log/" in target else None


def data_puts(method, target):
    return "data" if method == "PUT" and ".parquet" in target else None


def everything(method, target):
    return method


def gets_of_the_log(method, target):
    return "get" if method == "GET" and "_delta_log/0" in target else None


@pytest.mark.parametrize(
    ("answer", "group"),
    [
        (LostReply(), log_puts),
        (LostReply(reset=True), log_puts),
        (LostReply(), data_puts),
        (Refusal(), everything),
        (Cut(reset=True), gets_of_the_log),
        (Cut(), gets_of_the_log),
    ],
    ids=["lost log reply", "reset log reply", "lost data reply", "slow down", "reset mid-body", "truncated"],
)
def test_an_ingest_is_committed_once(server, bucket, answer, group):
    place = prepared(server, bucket, OPERATIONS["ingest"], 1, "delta")
    hook = Times(answer, group)
    assert ingest_through(place, hook) == 0
    assert hook.given, "the fault was played"
    runs = [entry.run for entry in place.open().history()]
    assert runs.count(RUN_KEY) == 1
    assert {day: rows for day, (rows, _) in place.by_lake().items()} == {
        "2013-01-01": 10,
        "2013-01-02": 10,
        "2013-01-03": 5,
        "2013-01-04": 5,
        "2013-01-05": 5,
    }
