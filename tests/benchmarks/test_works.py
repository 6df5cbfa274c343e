"""Each contender of the development environment does each work, and comes to the right answer."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from benchmarks.works import WORKS

CASES = [
    pytest.param((work.name, contender.name), id=f"{work.name}-{contender.name}")
    for work in WORKS.values()
    for contender in work.contenders
    if all(find_spec(module) for module in contender.needs) and not contender.is_alone
]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_the_answer_is_right(stages, case):
    work, contender = case
    stage = stages(work)
    stage.act(stage.work.contender(contender), f"written-{contender.replace(' ', '-').replace(',', '')}")


def test_ours_is_first_in_each_work_and_targets_name_what_there_is():
    for work in WORKS.values():
        assert work.contenders[0].name == "tierlake"
        names = {contender.name for contender in work.contenders}
        facts = {"bound", "columns and footer"}
        for target in work.targets:
            assert target.ours in names
            assert names.issuperset(target.of) or facts.issuperset(target.of)
            assert target.link in work.links
