"""`tierlake survey`: what it prints, and that its YAML is what `tierlake adopt` takes."""

from __future__ import annotations

import pytest
import yaml
from rich.cells import cell_len

from tests.pipelines.foreign import by_day, parquet, put, write_delta, write_hive
from tierlake.pipelines.cli.failures import ExitCode

LARGE = b"x" * 200_000


@pytest.fixture
def run(tierlake_here, server):
    return lambda *arguments, answer=None: tierlake_here(*arguments, env=server.environ(), answer=answer)


def test_what_can_be_adopted_is_adopted_with_its_yaml(run, server, bucket, tmp_path):
    write_hive(server, f"{bucket}/raw/hive")
    write_delta(server, f"{bucket}/raw/theirs", by_day(), ["day"])
    put(server, f"{bucket}/flat/x.parquet", parquet(by_day()))
    put(server, f"{bucket}/odd dir %/shop=1/x.parquet", parquet(by_day().drop_columns("shop")))
    put(server, f"{bucket}/csv/x.csv", b"a,b\n1,2\n")
    before = server.keys(bucket)
    done = run("survey", f"s3://{bucket}", "--out-dir", tmp_path / "specs", "--json")
    assert done.code == ExitCode.DONE
    assert "4 files written" in done.err
    assert server.keys(bucket) == before
    document = done.document
    adoptable = {one["uri"] for one in document["datasets"] if one["can_adopt"]}
    specs = {path.name: path for path in (tmp_path / "specs").iterdir()}
    assert specs.keys() == document["specs"].keys()
    assert {yaml.safe_load(path.read_text())["uri"] for path in specs.values()} == adoptable
    for path in specs.values():
        spec = yaml.safe_load(path.read_text())
        adopted = run("adopt", spec["uri"], "--spec", path, "--yes", "--json")
        assert adopted.code == 0, adopted.err
        listed = run("ls", spec["uri"], "--json")
        assert listed.code == 0, listed.err
        assert len(listed.document["partitions"]) == {"hive": 4, "theirs": 4}.get(spec["uri"].rpartition("/")[2], 1)
    again = run("survey", f"s3://{bucket}", "--json").document
    assert sum(one["is_ours"] for one in again["datasets"]) == 4
    assert not any(one["can_adopt"] for one in again["datasets"])


def test_tiers_are_in_the_yaml_where_they_pay(run, server, bucket, tmp_path):
    put(server, f"{bucket}/big/date=2013-01-02/x.parquet", LARGE)
    put(server, f"{bucket}/small/date=2013-01-02/x.parquet", b"x")
    specs = run("survey", f"s3://{bucket}", "--json").document["specs"]
    assert yaml.safe_load(specs["big.yaml"])["tiers"] == [
        {"after": "30d", "tier": "warm"},
        {"after": "90d", "tier": "cold"},
    ]
    assert "tiers" not in yaml.safe_load(specs["small.yaml"])
    assert "retention" not in yaml.safe_load(specs["big.yaml"])


def test_a_file_of_somebody_else_is_not_replaced(run, server, bucket, tmp_path):
    write_hive(server, f"{bucket}/hive")
    folder = tmp_path / "specs"
    assert run("survey", f"s3://{bucket}", "--out-dir", folder).code == 0
    assert run("survey", f"s3://{bucket}", "--out-dir", folder).code == 0  # the same again
    (folder / "hive.yaml").write_text("mine")
    refused = run("survey", f"s3://{bucket}", "--out-dir", folder)
    assert (refused.code, (folder / "hive.yaml").read_text()) == (ExitCode.USAGE, "mine")
    assert refused.out == run("survey", f"s3://{bucket}").out, "what was looked up is told all the same"
    below = run("survey", f"s3://{bucket}", "--out-dir", folder / "hive.yaml" / "specs")
    assert (below.code, below.out) == (ExitCode.USAGE, ""), "before the look"
    assert "hive.yaml' is in the way, it is a file" in below.err


def test_the_page_fits_80_columns_and_a_pipe_gets_all_of_it(run, server, bucket):
    for number in range(45):
        put(server, f"{bucket}/a folder with quite a long name of its own, number {number} - ünïcode 雪/x.csv", b"x")
    page = run("survey", f"s3://{bucket}").out
    assert max(map(cell_len, page.splitlines())) <= 80
    assert "... and" not in page
    assert page.splitlines()[0].startswith(f"lake://{bucket}: 45 datasets, 45 objects, 45 B, <$0.01 a month")
    assert run("survey", f"s3://{bucket}", "--all").out == page


def test_what_is_not_there_is_one_line_with_a_way_out(run, server, bucket):
    put(server, f"{bucket}/flights/x.csv", b"x")
    missing = run("survey", f"s3://{bucket}/flihgts")
    assert missing.code == ExitCode.FAILED
    assert "flights" in missing.err
    assert "Traceback" not in missing.err
