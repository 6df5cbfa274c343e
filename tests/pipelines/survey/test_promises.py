"""What a survey promises on other servers, price lists and budgets: it ends, and what it proposes can be done."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.resources import files
from itertools import count

import pytest
import yaml
from fsspec import filesystem

from tests.pipelines.foreign import by_day, parquet, put, write_delta
from tests.pipelines.survey.test_survey import LARGE, begin_upload, later, names, of_path, waste
from tierlake.connector.profiles import get_profile, profile_names
from tierlake.pipelines import Dataset
from tierlake.pipelines.costs.amounts import Amount, size_steps
from tierlake.pipelines.prices import price_list
from tierlake.pipelines.survey import survey
from tierlake.pipelines.survey.classification import FoundDataset
from tierlake.pipelines.survey.policies import Prices, lifecycle_rule, tier_steps, tiering
from tierlake.pipelines.survey.specs import adoptions_of

ROWS = by_day().drop_columns("day")


def of_server(server, **options):
    return filesystem("lake", skip_instance_cache=True, **{**server.storage_options, **options})


def test_a_server_without_a_cold_class_is_proposed_what_it_has(bucket, server):
    fs = of_server(server, profile="r2")
    put(server, f"{bucket}/h/date=2013-01-01/x.parquet", LARGE)
    put(server, f"{bucket}/h/date=2013-01-02/x.parquet", LARGE)
    result = survey(f"s3://{bucket}", fs=fs, clock=later(fs, bucket))
    assert {"tierlake: warm after 30 d, by event time", "lifecycle rule: STANDARD_IA after 30 d"} <= names(
        result.policies
    )
    assert yaml.safe_load(result.specs["h.yaml"])["tiers"] == [{"after": "30d", "tier": "warm"}]


@pytest.mark.parametrize("name", profile_names())
def test_each_profile_is_proposed_tiers_of_its_own(name):
    profile = get_profile(name)
    prices = Prices(profile, price_list(profile.price_list))
    amount = Amount(size_steps(prices.prices))
    amount.add(10**9)
    cells = {(profile.tier_classes["hot"], step): amount for step in range(6)}
    proposed = [lifecycle_rule(cells, prices, ""), tiering([cells], prices, keeps_versions=False, how="", caution="")]
    absent = {"warm", "cold"} - profile.tier_classes.keys()
    assert not any(tier in one.name for tier in absent for one in proposed if one)
    assert {tier for _, tier in tier_steps(profile)} == {"warm", "cold"} - absent


def test_uploads_are_priced_by_a_list_whose_hot_class_has_a_minimum_size(bucket, fs, server, tmp_path, monkeypatch):
    prices = json.loads((files("tierlake.pipelines.prices") / "self_hosted.json").read_text())
    prices["tiers"]["hot"]["min_bytes"] = {"value": 4096, "source": "ours"}
    (tmp_path / "prices.json").write_text(json.dumps(prices))
    monkeypatch.setenv("TIERLAKE_PRICES", str(tmp_path / "prices.json"))
    begin_upload(server, bucket, "half", 2**20)
    result = survey(f"s3://{bucket}", fs=fs, clock=later(fs, bucket))
    uploads = waste(result, "incomplete uploads")
    assert uploads.monthly_cost == pytest.approx(prices["tiers"]["hot"]["storage"]["value"] / 1024)
    assert "abort uploads after 7 d" in names(result.policies)


def test_uploads_that_the_time_was_too_short_for_are_named(moto, monkeypatch):
    fs, bucket = of_server(moto), moto.make_bucket()
    for number in range(25):
        moto.admin.create_multipart_upload(Bucket=bucket, Key=f"u/{number:02}")
    pages = fs.upload_pages

    def small_pages(path):
        uploads = [upload for page in pages(path) for upload in page]
        return (uploads[first : first + 10] for first in range(0, len(uploads), 10))

    monkeypatch.setattr(fs, "upload_pages", small_pages)
    ticks = count(step=100)
    cut = survey(f"s3://{bucket}", fs=fs, seconds=60, timer=lambda: next(ticks))
    assert waste(cut, "incomplete uploads").count == 10
    (rest,) = [one for one in cut.unknown if one.name == "the rest of the incomplete uploads"]
    assert rest.reason == "10 were listed, then the time was up"
    whole = survey(f"s3://{bucket}", fs=fs)
    assert waste(whole, "incomplete uploads").count == 25
    assert "the rest of the incomplete uploads" not in names(whole.unknown)
    moto.drop_bucket(bucket)


def test_what_it_says_can_be_adopted_is_adopted_in_any_order(bucket, fs, server):
    file = parquet(ROWS)
    for key in (
        "s/day=2024-01-02/x.parquet",
        "s/archive/day=2024-01-03/x.parquet",
        "flat/x.parquet",
        "flat/old/x.parquet",
        "named/2024-01-01.parquet",
        "named/2024-01-02.parquet",
        "mixed/2024-01-01.parquet",
        "mixed/x.parquet",
        *(f"sales/{code}/day=2024-01-02/x.parquet" for code in ("at", "be", "de", "fr")),
        "100%25/day=2024-01-02/x.parquet",
    ):
        put(server, f"{bucket}/{key}", file)
    result = survey(f"s3://{bucket}", fs=fs)
    adoptable = {one.uri.split("/", 3)[-1] for one in result.datasets if one.can_adopt}
    assert adoptable == {"s/archive", "flat/old", "mixed", "sales/at", "sales/be", "sales/de", "sales/fr"}
    assert "lies below it" in " ".join(of_path(result, "s").notes)
    assert "one file a partition" in " ".join(of_path(result, "named").notes)
    for name in sorted(result.specs, reverse=True):
        spec = yaml.safe_load(result.specs[name])
        assert Dataset.adopt(spec["uri"], spec, fs=fs, dry_run=False).changed
        adoptable.remove(spec["uri"].split("/", 3)[-1])
    assert not adoptable


def test_tiers_are_in_the_yaml_exactly_where_they_are_proposed(moto):
    fs, bucket = of_server(moto), moto.make_bucket(versioned=True)
    for size in (150_000, 180_000, 220_000, 300_000):  # a copy of a version asks for more, and small files save less
        for day in (1, 2):
            put(moto, f"{bucket}/{size}/x/date=2024-01-0{day}/x.parquet", b"x" * size)
        result = survey(f"s3://{bucket}/{size}", fs=fs)
        has_tiers = "tiers:" in "".join(result.specs.values())
        assert has_tiers is any(name.startswith("tierlake: ") for name in names(result.policies)), size
    moto.drop_bucket(bucket)


class Path(str):
    """A path that counts how often it is compared."""

    __slots__ = ()
    steps = 0

    def startswith(self, *arguments):
        Path.steps += 1
        return super().startswith(*arguments)

    def __lt__(self, other):
        Path.steps += 1
        return super().__lt__(other)


def test_how_tables_lie_to_each_other_takes_steps_linear_in_their_number():
    def steps(number):
        paths = [Path(f"tables/{n:06}/") for n in range(number)]
        Path.steps = 0
        adoptions = adoptions_of({path: FoundDataset(path, "delta") for path in paths}, {}, lambda path: f"b/{path}")
        assert len(adoptions) == number
        return Path.steps

    assert steps(400) <= 2.5 * steps(200)


def test_tables_above_and_below_are_told_from_those_beside():
    found = {path: FoundDataset(path, "iceberg") for path in ("a/b/", "a/b/c/d/", "a-/", "a/bc/")}
    others = {path: FoundDataset(path, "files") for path in ("", "a/", "a/b/c/", "a/b/c/d/e/", "a-b/", "b/")}
    problems = {path: one.problem for path, one in adoptions_of(found | others, {}, lambda path: f"b/{path}x").items()}
    assert {path for path in others if problems[path] == "another table lies below it"} == {"", "a/", "a/b/c/"}
    assert {path for path in others if problems[path] == "it lies inside another table"} == {"a/b/c/d/e/"}


def test_the_log_of_a_table_is_read_without_pandas(bucket, server):
    write_delta(server, f"{bucket}/t", by_day(), ["day"])
    code = (
        "import sys\nfrom tierlake import survey\n"
        "(one,) = survey(sys.argv[1]).datasets\nprint(one.live_bytes, 'pandas' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, f"s3://{bucket}"],
        capture_output=True, text=True, check=True, env={**os.environ, **server.environ()},
    )  # fmt: skip
    size, has_pandas = done.stdout.split()
    assert int(size) > 0
    assert has_pandas == "False"
