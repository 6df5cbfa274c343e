"""The harness: processes, rounds, answers that are checked, and what is left out."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import plot, report
from benchmarks.child import Child, ContenderError
from benchmarks.harness import Measurement, Plan, Process
from benchmarks.interpreters import Interpreters
from benchmarks.model import DISTANT, LOOPBACK, Contender, Target
from benchmarks.results import Measured, Result, load, save, verdicts
from benchmarks.works import WORKS
from tests import ROOT

QUIET = {"tell": lambda _: None}


@pytest.fixture(scope="module")
def interpreters() -> Interpreters:
    return Interpreters()


def test_contenders_act_in_turns_in_processes_of_their_own(stages, small, interpreters):
    stage = stages("listing")
    plan = Plan(small, interpreters, rounds=2, only=("obstore", "boto3"), **QUIET)
    result = Measurement(stage.work, plan, stage.place).result()
    assert set(result.contenders) == {"obstore", "boto3"}
    assert result.title == "2,500 keys with sizes"
    for one in result.contenders.values():
        assert {link: len(taken) for link, taken in one.seconds.items()} == {LOOPBACK: 2, DISTANT: 2}
        assert min(one.seconds[DISTANT]) > 3 * 0.030  # its three pages, one after the other
        assert one.requests == {"LIST": 3}
        assert one.down > 250_000
        assert one.above < one.peak
    assert result.versions["boto3"]


@pytest.mark.slow
def test_processes_start_anew_as_often_as_a_work_says_and_their_cpu_is_counted(stages, small, interpreters):
    stage = stages("listing")
    work = replace(stage.work, starts=2, links=(LOOPBACK,))
    result = Measurement(work, Plan(small, interpreters, 1, only=("boto3",), **QUIET), stage.place).result()
    assert (result.rounds, len(result.contenders["boto3"].cpu[LOOPBACK])) == (2, 2)
    assert min(result.contenders["boto3"].cpu[LOOPBACK]) > 0.01
    assert "| loopback, s | / ours | / best | CPU, s |" in report.section(work, result)


def test_other_code_is_run_where_the_command_line_says_where_it_is(stages, small, interpreters):
    stage = stages("listing")
    other = Contender("other", lambda _: lambda _: None, variables={"PYTHONPATH": "{baseline}/src"})
    work = replace(stage.work, contenders=(other,))
    result = Measurement(work, Plan(small, interpreters, 0, **QUIET), stage.place).result()
    assert result.skipped == {"other": "no --baseline"}


def test_a_contender_has_variables_of_its_own_with_a_folder_and_a_port(tmp_path):
    reply = "sys.stdin.readline(); print(json.dumps(dict(os.environ)), flush=True)"
    (tmp_path / "shown.py").write_text(f"import json, os, sys; {reply}; {reply}")
    variables = {"PYTHONPATH": str(tmp_path), "AT": "file:{folder}/a", "ON": "{port}", "OLD": "{baseline}/src"}
    with Child(Path(sys.executable), "shown", {}, variables, Path("/before")) as child:
        shown = child.ask("show")
        folder = Path(shown["AT"].removeprefix("file:")).parent
        assert folder.is_dir()
    assert not folder.exists()
    assert 1024 < int(shown["ON"]) < 65536
    assert shown["OLD"] == "/before/src"


def test_a_peer_with_a_wrong_answer_is_left_out_and_ours_is_an_error(stages, small, interpreters):
    stage = stages("listing")
    wrong = replace(stage.place, facts={**stage.place.facts, "answer": {"keys": 1}})
    result = Measurement(stage.work, Plan(small, interpreters, 0, only=("obstore",), **QUIET), wrong).result()
    assert result.contenders == {}
    assert result.skipped["obstore"].startswith("a wrong answer: {'keys': 2500")
    with pytest.raises(ContenderError, match="a wrong answer"):
        Measurement(stage.work, Plan(small, interpreters, 0, only=("tierlake",), **QUIET), wrong).result()


def test_a_contender_that_fails_says_why(stages):
    stage = stages("listing")
    nowhere = replace(stage.place, bucket="nowhere")
    with (
        Process(Path(sys.executable), stage.work, stage.work.contender("boto3"), nowhere) as process,
        pytest.raises(ContenderError, match="NoSuchBucket"),
    ):
        process.run("any")


def test_who_is_not_installed_is_left_out_by_name(interpreters):
    nobody = Contender("nobody", lambda _: lambda _: None, ("a_module_that_nobody_has",))
    assert interpreters.having(nobody) is None
    assert interpreters.having(replace(nobody, needs=("a_package_that_nobody_has.module",))) is None
    assert interpreters.having(WORKS["columns"].contender("polars")) == Path(sys.executable)


WORK = replace(
    WORKS["upload"],
    targets=(Target(1.05, ("boto3", "s5cmd")), Target(1, ("bound",), "above"), Target(0.5, ("daft",), "down")),
)


def invented() -> Result:
    contenders = {
        "tierlake": Measured({LOOPBACK: [1.0, 1.2, 5.0]}, {"PUT": 3}, 0, 300, 9 << 20, 5 << 20),
        "boto3": Measured({LOOPBACK: [1.0, 1.0, 1.1]}, {"PUT": 9}, 0, 300, 9 << 20, 3 << 20),
        "s5cmd": Measured({LOOPBACK: [1.3, 2.0, 1.4]}, {"PUT": 6}, 0, 300, 9 << 20, 3 << 20),
    }
    return Result("upload", "a file", "seaweedfs", 2, 3, contenders, {"daft": "not installed"}, {"bound": 10 << 20})


def test_ratios_of_a_percent_are_shown_where_processes_start_several_times():
    verdict = verdicts(WORK, invented())[0]
    assert report.ratio(WORK, verdict) == "1.20"
    assert report.ratio(replace(WORK, starts=6), verdict) == "1.200"


def test_targets_compare_medians_with_the_best_of_the_others():
    slow, bounded, missing = verdicts(WORK, invented())
    assert (slow.ratio, slow.of, slow.reached) == (pytest.approx(1.2), "boto3", False)
    assert (bounded.ratio, bounded.reached) == (0.5, True)
    assert (missing.ratio, missing.reached) == (None, None)


def test_a_table_has_ratios_and_says_who_is_left_out():
    text = report.section(WORK, invented())
    assert "| **tierlake** | 1.20 (1.00-5.00) | 1.00 | 1.20 | 3 PUT | 0.0 | 0.0 | 5 | 9 |" in text
    assert "| boto3 | 1.00 (1.00-1.10) | 0.83 | 1.00 | 9 PUT |" in text
    assert "Left out: daft (not installed)." in text


def test_results_come_back_and_the_page_keeps_what_is_around_them(tmp_path):
    save(tmp_path / "works.json", {"upload": invented()})
    assert load(tmp_path / "works.json") == {"upload": invented()}
    page = tmp_path / "page.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    for _ in range(2):
        report.write(page, {"upload": WORK}, {"upload": invented()}, {"ticks": "1 s\n"})
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "tierlake: time, loopback at most 1.05 x the best of boto3, s5cmd | 1.20 | **not reached** |" in text


def test_the_picture_is_the_same_for_the_same_results(tmp_path):
    pictures = []
    for name in ("one.svg", "two.svg"):
        plot.write(tmp_path / name, {"upload": WORK}, {"upload": invented()})
        pictures.append((tmp_path / name).read_bytes())
    assert pictures[0] == pictures[1]
    assert b"<svg" in pictures[0]
    assert b"dc:date" not in pictures[0]


def test_the_page_shows_the_results_that_are_kept():
    page, folder = (ROOT / "docs" / "benchmarks.md").read_text(), ROOT / "benchmarks" / "results"
    for name, result in load(folder / "works.json").items():
        assert report.section(WORKS[name], result) in page
