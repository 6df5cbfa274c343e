"""Grafana's dashboard: each query is PromQL, of metrics that there are, and shows something."""

import itertools
import json

import pytest
import yaml

from tests.deploy.prometheus import (
    DEPLOY,
    OF_PROMETHEUS,
    RULES,
    dashboard,
    dashboard_expressions,
    exported,
    metrics_in,
    promtool,
    rules,
    shown_names,
)
from tierlake.connector.observe.instruments import INSTRUMENTS

MINUTES = 30
LABELS = {
    "job": ["tierlake"],
    "instance": ["a"],
    "operation": ["get_object", "dataset.open"],
    "status_class": ["2xx"],
    "server": ["minio"],
    "code": ["throttled"],
    "kind": ["answer", "failure"],
    "state": ["running"],
    "cache": ["listing"],
    "result": ["hit"],
    "format": ["delta"],
    "dataset": ["lake://warehouse/flights"],
    "outcome": ["accepted"],
    "sink": ["log"],
    "tier": ["hot"],
    "sensor": ["flights_retention"],
    "le": ["0.1", "+Inf"],
}


def series_of_all_metrics() -> list[dict[str, str]]:
    """One series of each metric, with the labels that the code gives it; of a histogram with its buckets."""
    series = []
    for one in INSTRUMENTS:
        for name in sorted(shown_names(one)):
            labels = ("job", "instance", *one.labels, *(["le"] if name.endswith("_bucket") else []))
            for values in itertools.product(*(LABELS[label] for label in labels)):
                selector = ", ".join(f'{label}="{value}"' for label, value in zip(labels, values, strict=True))
                grows = one.kind != "gauge" or one.name.endswith("timestamp_seconds")
                series.append({"series": f"{name}{{{selector}}}", "values": f"{'0+60' if grows else '5'}x{MINUTES}"})
    return series


def test_each_query_is_of_metrics_that_there_are():
    known = exported() | OF_PROMETHEUS | {one.record for one in rules()}
    for panel, expression in dashboard_expressions().items():
        assert metrics_in(expression), panel
        assert metrics_in(expression) <= known, panel


def test_each_metric_is_shown():
    recorded = {one.record: metrics_in(one.expression) for one in rules() if one.record}
    shown = set()
    for expression in dashboard_expressions().values():
        for name in metrics_in(expression):
            shown |= {name} | recorded.get(name, set())
            shown |= set().union(*(recorded.get(one, set()) for one in recorded.get(name, ())))
    assert [one.name for one in INSTRUMENTS if not shown & shown_names(one)] == []


def test_each_query_shows_something_where_every_metric_has_a_series(tmp_path):
    test = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [*series_of_all_metrics(), {"series": 'up{job="tierlake"}', "values": f"0x{MINUTES}"}],
                "promql_expr_test": [
                    {
                        "expr": f"count({expression}) > bool 0",
                        "eval_time": f"{MINUTES}m",
                        "exp_samples": [{"labels": "{}", "value": 1}],
                    }
                    for expression in dashboard_expressions().values()
                ],
            }
        ],
    }
    file = tmp_path / "test.yml"
    file.write_text(yaml.safe_dump(test))
    promtool("test", "rules", file)


def test_panels_do_not_overlap_and_have_names_of_their_own():
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
    places = set()
    for panel in panels:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not places & cells, panel["title"]
        places |= cells


def test_every_panel_takes_the_data_source_that_is_chosen():
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    for panel in dashboard()["panels"]:
        if panel["type"] != "row":
            assert panel["datasource"] == chosen
            assert [target["datasource"] for target in panel["targets"]] == [chosen] * len(panel["targets"])


@pytest.mark.parametrize("kind", ["datasources", "dashboards"])
def test_grafana_is_provisioned(kind):
    (file,) = (DEPLOY / "grafana" / "provisioning" / kind).iterdir()
    assert yaml.safe_load(file.read_text())["apiVersion"] == 1


def test_the_dashboard_is_written_as_grafana_exports_it():
    text = (DEPLOY / "grafana" / "dashboards" / "tierlake.json").read_text()
    assert text == json.dumps(dashboard(), indent=2, ensure_ascii=False) + "\n"
