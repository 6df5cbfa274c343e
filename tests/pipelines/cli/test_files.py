"""Commands on the files of a dataset: init, adopt, compact, erase, rejects, verify --repair."""

import pandas as pd
import pytest

from tests.pipelines.conftest import make_trips, trip_spec
from tests.pipelines.foreign import write_hive
from tierlake.pipelines import Dataset, DatasetSpec
from tierlake.pipelines.cli.failures import ExitCode


@pytest.fixture
def run(tierlake_here, server):
    return lambda *arguments, answer=None: tierlake_here(*arguments, env=server.environ(), answer=answer)


@pytest.mark.slow
def test_init_writes_a_description_to_start_from(run, bucket, tmp_path):
    sample, spec = tmp_path / "trips.csv", tmp_path / "trips.yaml"
    sample.write_text("id,at\n1,2013-01-01T10:00:00Z\n")
    assert "uri: lake://warehouse/trips\n" in run("init", sample).out
    described = run("init", sample, "--uri", f"lake://{bucket}/trips", "--out", spec, "--json").document
    assert described["partition"]["time"] == {"column": "at", "every": "day", "timezone": "UTC", "key": "date"}
    assert run("create", spec).code == 0
    assert run("ingest", spec, sample).code == 0
    kept = spec.read_text()
    refused = run("init", sample, "--out", spec)
    assert (refused.code, spec.read_text()) == (ExitCode.USAGE, kept)
    assert "is there already" in refused.err
    assert run("init", tmp_path / "missing.csv").code == ExitCode.FAILED


ODD_NAMES = [
    "Total\u00a0EUR\u00a0",
    "合計\u3000円",
    "\U0001f469\u200d\U0001f680",
    "right\u202eleft",
    "line\u2028end",
    "n\x85",
    "\ufeffbom",
    f"{'long ' * 40}\u2066x",
]


def test_a_description_is_the_same_through_a_pipe(run, bucket, fs, tmp_path):
    sample, spec = tmp_path / "odd.parquet", tmp_path / "odd.yaml"
    pd.DataFrame({"at": pd.to_datetime(["2013-01-01T10:00:00Z"]), **{name: [1] for name in ODD_NAMES}}).to_parquet(
        sample
    )
    uri = f"lake://{bucket}/odd"
    piped = run("init", sample, "--uri", uri).out
    run("init", sample, "--uri", uri, "--out", spec)
    described = DatasetSpec.from_yaml(spec)
    assert piped == spec.read_text()
    assert list(described.columns) == ["at", *ODD_NAMES]
    Dataset.create(described, fs=fs)
    shown = run("show", uri).out
    assert DatasetSpec.from_yaml(shown[shown.index("uri: ") :]) == described


@pytest.mark.slow
def test_adopt_asks_first_and_says_what_it_does(run, server, bucket, tmp_path):
    uri = f"lake://{bucket}/hive"
    write_hive(server, f"{bucket}/hive")
    before = server.keys(bucket)
    assert "would write a Delta log" in run("adopt", uri, "--dry-run").out
    assert run("adopt", uri).code == ExitCode.USAGE  # nobody to ask
    assert run("adopt", uri, answer="n").code == ExitCode.FAILED
    assert server.keys(bucket) == before
    spec = tmp_path / "policy.yaml"
    spec.write_text(f"uri: {uri}\npartition: {{time: {{key: day}}}}\nretention: {{expire_after: 90d}}\n")
    done = run("adopt", uri, "--spec", spec, "--yes", "--json")
    assert (done.code, done.document["files"], done.document["changed"]) == (0, 4, True)
    assert done.document["spec"]["retention"]["expire_after"] == "90d"
    assert not run("adopt", uri, "--yes", "--json").document["changed"]
    assert run("hold", uri, "day=2013-01-01", "--reason", "audit").code == 0
    mended = run("verify", uri, "--repair", "--json")
    assert mended.document["ok"]
    assert len(mended.document["repaired"]) == 4


def test_holds_need_an_adopted_table(run, server, bucket):
    write_hive(server, f"{bucket}/hive")
    refused = run("hold", f"lake://{bucket}/hive", "day=2013-01-01", "--reason", "audit")
    assert refused.code == ExitCode.FAILED
    assert "tierlake adopt" in refused.err


@pytest.fixture
def trips(run, bucket, tmp_path):
    spec, source = tmp_path / "trips.yaml", tmp_path / "trips.csv"
    spec.write_text(trip_spec(bucket, rejects={"max_ratio": 0.5}).to_yaml())
    frame = make_trips().to_pandas()
    frame["at"] = frame["at"].astype(str)
    bad = pd.DataFrame({"at": ["soon"], "city": ["JFK"], "fare": [1.0]})
    pd.concat([frame, bad]).to_csv(source, index=False)
    assert run("create", spec).code == 0
    for _ in range(3):
        assert run("ingest", spec, source, "--append").code == 0
    return f"lake://{bucket}/city/trips"


@pytest.mark.slow
def test_compact_and_erase(run, trips, fs):
    foreseen = run("compact", trips, "date=2013-01-02", "--dry-run", "--json").document
    assert [part["key"] for part in foreseen["partitions"]] == ["date=2013-01-02"]
    done = run("compact", trips, "--sort-by", "fare", "--level", "5", "--json")
    assert {part["files_after"] for part in done.document["partitions"]} == {1}
    assert "nothing to compact" in run("compact", trips).out

    assert run("erase", trips, "--where", "city", "--yes").code == ExitCode.USAGE
    counted = run("erase", trips, "--where", "city=JFK", "--where", "fare=1", "--dry-run", "--json").document
    assert sum(part["rows"] for part in counted["partitions"]) == 3
    run("hold", trips, "date=2013-01-02", "--reason", "lawsuit")
    part = run("erase", trips, "--where", "city=JFK", "--yes")
    assert part.code == ExitCode.PARTIAL
    assert "lawsuit" in part.out
    run("release", trips, "date=2013-01-02")
    rest = run("erase", trips, "--where", "city=JFK", "--yes", "--unsafe-delete-old-files", "--json")
    assert rest.code == ExitCode.PARTIAL, "rejected rows of JFK wait to be mended"
    assert rest.document["deleted"]
    assert not rest.document["remnants"]
    assert (rest.document["remaining"], len(rest.document["rejects"]), rest.document["is_complete"]) == (0, 1, False)
    for path in rest.document["rejects"]:
        fs.for_table(path.partition("/_lake/")[0]).rm_file(path)
    done = run("erase", trips, "--where", "city=JFK", "--yes", "--json")
    assert (done.code, done.document["is_complete"]) == (0, True)


def test_rejects_are_listed(run, trips):
    listed = run("rejects", trips, "--json").document
    assert [file["rows"] for file in listed] == [1], "the same source three times has one list"
    assert listed[0]["reasons"] == {"at is not a time": 1}
    assert "at is not a time" in run("rejects", trips).out
