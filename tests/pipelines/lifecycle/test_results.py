"""What acts did, as people read it: some in Python, all in a pipe, and on a terminal what fits and how to see more."""

from tierlake.pipelines.errors import PolicyRefused
from tierlake.pipelines.lifecycle.results import UndoResult, UndoSummary
from tierlake.pipelines.runtime.page import Page, on_page


def back(number: int) -> UndoResult:
    return UndoResult(key=f"n={number:03d}", changed=True, files=1, rows=1, bytes=1)


def test_a_long_undo_is_listed_as_its_page_takes_it():
    summary = UndoSummary.of(map(back, range(100)), failures={"n=999": PolicyRefused("gone")})
    first, *lines = str(summary).splitlines()
    assert first == "100 partitions are back (100 files, 100 B), 1 cannot come back"
    assert (len(lines), lines[-1]) == (41, "... and 60 more")
    with on_page(Page()):
        assert len(str(summary).splitlines()) == 101
    with on_page(Page(width=80, rows=10)):
        assert str(summary).splitlines()[10:] == [f"  {back(9)}", "... and 90 more: --all"]
