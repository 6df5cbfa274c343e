"""Price lists: dated, replaceable, a source beside each figure."""

import json
from pathlib import Path

import pytest

from tierlake.connector.profiles import get_profile, profile_names
from tierlake.pipelines import prices as price_lists
from tierlake.pipelines.errors import SpecError
from tierlake.pipelines.prices import PriceList, price_list, price_list_names


def test_the_lists_that_ship() -> None:
    assert set(price_list_names()) >= {"aws_us_east_1", "self_hosted"}


@pytest.mark.parametrize("name", ["aws_us_east_1", "self_hosted"])
def test_every_figure_names_its_source(name: str) -> None:
    prices = price_list(name)
    for rates in [*prices.classes.values(), *prices.tiers.values()]:
        for field in rates.model_fields_set:
            assert getattr(rates, field).source
    assert prices.dated
    assert prices.currency == "USD"


def test_every_tier_of_every_server_has_a_price() -> None:
    for name in profile_names():
        profile = get_profile(name)
        prices = price_list(profile.price_list)
        for tier, storage_class in profile.tier_classes.items():
            rates = prices.rates(storage_class, tier)
            assert rates is not None, f"{name}: no price for {tier} ({storage_class})"
            assert rates.storage.value > 0


def test_aws_figures_are_the_cited_ones() -> None:
    prices = price_list("aws_us_east_1")
    standard, infrequent = prices.classes["STANDARD"], prices.classes["STANDARD_IA"]
    assert standard.storage.value == 0.023
    assert infrequent.storage.value == 0.0125
    assert infrequent.transition.value == 0.01
    assert infrequent.min_bytes.value == 131072
    assert prices.classes["GLACIER_IR"].min_days.value == 90


def test_a_server_of_ones_own_charges_for_storage_alone_and_says_so() -> None:
    prices = price_list("self_hosted")
    for rates in prices.tiers.values():
        assert rates.put.value == rates.get.value == rates.transition.value == rates.retrieval_gb.value == 0
        assert rates.min_bytes.value == rates.min_days.value == 0
    assert prices.note is not None
    assert "yardstick" in prices.note


def test_colder_tiers_are_never_dearer_to_store() -> None:
    for name in ("aws_us_east_1", "self_hosted"):
        prices = price_list(name)
        tiers = get_profile("aws").tier_classes
        costs = [prices.rates(tiers[tier], tier) for tier in ("hot", "warm", "cold", "archive")]
        storage = [rates.storage.value for rates in costs if rates is not None]
        assert storage == sorted(storage, reverse=True)
        assert len(storage) == 4


@pytest.fixture
def own_list(tmp_path: Path) -> Path:
    path = tmp_path / "prices.json"
    figure = {"value": 0.5, "source": "our contract"}
    path.write_text(
        json.dumps({"dated": "2026-01-01", "region": "cellar", "classes": {"STANDARD": {"storage": figure}}, "new": 1})
    )
    return path


def test_the_environment_replaces_the_list(own_list: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIERLAKE_PRICES", str(own_list))
    assert price_list("aws_us_east_1").region == "cellar"


def test_an_argument_wins_over_the_environment(own_list: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIERLAKE_PRICES", "/nowhere.json")
    prices = price_list("aws_us_east_1", path=own_list)
    assert prices.classes["STANDARD"].storage.value == 0.5
    assert prices.rates("STANDARD_IA") is None


def test_an_unknown_list_is_told_the_nearest_name() -> None:
    with pytest.raises(SpecError, match="did you mean 'aws_us_east_1'"):
        price_list("aws-us-east-1")


def test_other_distributions_add_lists(own_list: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Entry:
        name = "cellar"

        def load(self) -> Path:
            return own_list

    monkeypatch.setattr(price_lists, "entry_points", lambda *, group, name: [Entry()] if name == "cellar" else [])
    price_lists._named.cache_clear()
    assert price_list("cellar").region == "cellar"


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        "{}",
        '{"dated": "2026", "region": "x"}',
        '{"dated": "2026", "region": "x", "classes": {"STANDARD": {"storage": {"value": -1, "source": "x"}}}}',
        '{"dated": "2026", "region": "x", "classes": {"STANDARD": {"storage": {"value": 1}}}}',
    ],
)
def test_what_is_no_price_list_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(SpecError, match="not a price list"):
        PriceList.from_file(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"absent\.json"):
        PriceList.from_file(tmp_path / "absent.json")
