"""Commands that workers carry out: `--dask ADDRESS`."""

import pytest
from distributed import LocalCluster

from tests.pipelines.conftest import trip_spec
from tierlake.pipelines.cli.failures import ExitCode
from tierlake.pipelines.errors import SpecError
from tierlake.pipelines.ingest.dask_workers import connected


@pytest.fixture(scope="session")
def server(seaweedfs):
    """What differs between the servers is tested without workers."""
    return seaweedfs


@pytest.mark.slow
def test_workers_ingest_compact_and_erase(tierlake_here, server, bucket, tmp_path):
    (tmp_path / "spec.yaml").write_text(trip_spec(bucket).to_yaml())
    (tmp_path / "trips.csv").write_text("at,city,fare\n2013-01-01T10:00:00Z,JFK,1.5\n2013-01-01T11:00:00Z,LGA,2.5\n")

    def run(*arguments):
        return tierlake_here(*arguments, env=server.environ())

    assert run("create", "spec.yaml").code == 0
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster:
        dask = ("--dask", cluster.scheduler_address, "--json")
        for _ in range(2):
            assert run("ingest", "spec.yaml", "trips.csv", "--append", *dask).document["rows"] == 2
        (part,) = run("compact", "spec.yaml", *dask).document["partitions"]
        assert (part["files_before"], part["files_after"]) == (2, 1)
        assert run("erase", "spec.yaml", "--where", "city=JFK", "--yes", *dask).document["partitions"][0]["rows"] == 2
        ran = cluster.scheduler.transition_log
        assert {str(entry[0]).partition("-")[0] for entry in ran} >= {"_stage_share", "_rewrite_there", "_count_there"}
    refused = run("ingest", "spec.yaml", "trips.csv", "--dry-run", *dask)
    assert refused.code == ExitCode.USAGE
    with pytest.raises(SpecError, match="no Dask scheduler answers"), connected(dask[1], patience_seconds=0.1):
        pass
