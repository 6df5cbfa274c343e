"""The rules for Prometheus: each alert fires when it should and not otherwise, and says what to do."""

import pytest
import yaml

from tests.deploy.prometheus import (
    OF_PROMETHEUS,
    RULES,
    alerts,
    exported,
    metrics_in,
    promtool,
    rules,
    shortened,
)

SERIES = ("rules_test.yml", "rules_days_test.yml")


def groups() -> list[dict]:
    return [group for name in SERIES for group in yaml.safe_load((RULES.parent / name).read_text())["tests"]]


def test_prometheus_takes_them():
    assert "rules found" in promtool("check", "rules", RULES)


@pytest.mark.parametrize("name", SERIES)
def test_series_fire_the_alerts_or_do_not(name):
    promtool("test", "rules", RULES.parent / name)


@pytest.mark.parametrize("alert", alerts())
def test_each_alert_has_series_that_fire_it_and_series_that_never_do(alert):
    expected = [
        [one["exp_alerts"] for one in group["alert_rule_test"] if one["alertname"] == alert] for group in groups()
    ]
    assert any(any(firing) for firing in expected)
    assert any(firing and not any(firing) for firing in expected)


def test_they_use_what_the_code_exports():
    recorded = {one.record for one in rules() if one.record is not None}
    for one in rules():
        assert metrics_in(one.expression) <= exported() | recorded | OF_PROMETHEUS, one


def test_a_rule_reads_what_a_rule_before_it_records():
    recorded = set()
    for one in rules():
        assert {name for name in metrics_in(one.expression) if ":" in name} <= recorded, one
        recorded.add(one.record)


@pytest.mark.parametrize(("alert", "rule"), alerts().items())
def test_an_alert_says_how_bad_it_is_what_happened_and_where_to_read_on(alert, rule):
    assert rule.labels["severity"] in {"critical", "warning"}
    assert rule.annotations.keys() == {"summary", "description", "runbook"}
    assert len(rule.annotations["summary"]) < 100
    assert rule.annotations["runbook"] == f"docs/operations.md#{alert.lower()}"


def test_the_error_rate_is_what_was_agreed_on():
    rule = next(one for one in yaml.safe_load(RULES.read_text())["groups"][0]["rules"] if "alert" in one)
    assert (rule["alert"], rule["for"]) == ("TierlakeErrorRateHigh", "5m")
    assert "tierlake:failure_ratio:increase5m > 0.05" in rule["expr"]


def test_shorter_durations_are_the_same_rules(tmp_path):
    file = tmp_path / "rules.yml"
    file.write_text(shortened(RULES.read_text(), times=30))
    promtool("check", "rules", file)
    assert "[10s]" in file.read_text()
    assert "tierlake:requests:increase5m" in file.read_text()
