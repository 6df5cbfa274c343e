"""The result of a survey, and the page of 80 columns that people read."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from tierlake.connector.ages import rounded_age
from tierlake.pipelines.runtime import formatting
from tierlake.pipelines.runtime.cells import blanked

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from tierlake.pipelines.survey.report import Policy, SurveyedDataset, Unknown, Waste

__all__ = ["Survey", "survey_text"]

WIDTH: Final = 80
_NAME_LEAST: Final = 10
_SHOWN: Final = 40
_NOTES_SHOWN: Final = 10
_NOTED_NAME: Final = 40
_CENT: Final = 0.01
_MANY_DOLLARS: Final = 1000
"""From here on cents are left out."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What is in a bucket, or below a prefix, and what it costs.

    Attributes:
        uri: What was surveyed.
        as_of: When, by the server's clock.
        server: The profile of the server.
        prices: The price list: its region and date.
        prices_note: What a reader of its figures should know.
        is_complete: Whether every object was listed.
        objects: Of those that were.
        bytes: Their size.
        monthly_cost: Storage in dollars a month; None where a class has no price.
        datasets: By size, the largest first.
        waste: What could go.
        policies: What could be done; those that move data are alternatives of each other.
        unknown: What cannot be told, or was not looked at.
        folder_markers: Empty objects of these that stand for folders, and are in no dataset.
        notes: Remarks.
        specs: By a name for a file, the YAML to adopt a dataset with.
    """

    uri: str
    as_of: datetime
    server: str
    prices: str
    prices_note: str | None
    is_complete: bool
    objects: int
    bytes: int
    monthly_cost: float | None
    datasets: tuple[SurveyedDataset, ...]
    waste: tuple[Waste, ...]
    policies: tuple[Policy, ...]
    unknown: tuple[Unknown, ...]
    folder_markers: int
    notes: tuple[str, ...]
    specs: dict[str, str]

    def __str__(self) -> str:
        """For people, in 80 columns."""
        return survey_text(self)


def survey_text(survey: Survey, *, limit: int | None = _SHOWN) -> str:
    """The page: a summary, the datasets, the waste, the policies, and what cannot be told.

    Args:
        survey: The survey.
        limit: Show so many datasets; None shows all.
    """
    blocks = [_summary(survey)]
    if survey.datasets:
        blocks.append(_datasets(survey, limit))
    blocks += [_waste(survey), _policies(survey), _unknown(survey)]
    if survey.specs:
        blocks.append(_adoption(survey))
    return "\n\n".join(blocks)


def _summary(survey: Survey) -> str:
    datasets = formatting.counted(len(survey.datasets), "dataset")
    objects = formatting.counted(survey.objects, "object")
    cost = "at no known price" if survey.monthly_cost is None else f"{_money(survey.monthly_cost)} a month"
    partly = "" if survey.is_complete else ", as far as it was listed"
    lines = [
        f"{survey.uri}: {datasets}, {objects}, {formatting.size(survey.bytes)}, {cost}{partly}"
        if survey.objects
        else f"{survey.uri}: no objects"
    ]
    lines += _wrapped(f"Prices: {survey.prices}. {survey.prices_note or ''}".strip())
    for note in survey.notes:
        lines += _wrapped(f"Note: {note}")
    return "\n".join(lines)


def _datasets(survey: Survey, limit: int | None) -> str:
    shown = survey.datasets if limit is None else survey.datasets[:limit]
    prefix = f"{survey.uri}/"
    rows = [_row(one, prefix, survey) for one in shown]
    others = [max(len(row[column]) for row in (*rows, _HEADINGS)) for column in range(1, len(_HEADINGS))]
    room = max(WIDTH - sum(others) - 2 * len(others), _NAME_LEAST)
    cells = [(_middle(row[0], room), *row[1:]) for row in rows]
    heads = (_HEADINGS[0], *(_HEADINGS[1:3]), *(f">{one}" for one in _HEADINGS[3:]))
    text = formatting.table_text(heads, cells, number=len(survey.datasets), limit=limit)
    lines = [text]
    noted: dict[str, list[str]] = {}
    for one in survey.datasets:
        for note in one.notes:
            noted.setdefault(note, []).append(_middle(_name(one, prefix), _NOTED_NAME))
    for note, of in list(noted.items())[:_NOTES_SHOWN]:
        several = f"{len(of):,} datasets, such as {of[0]}"
        lines += _wrapped(f"{of[0] if len(of) == 1 else several}: {note}")
    if len(noted) > _NOTES_SHOWN:
        lines.append(f"... and {len(noted) - _NOTES_SHOWN:,} more remarks: --json has all")
    return "\n".join(lines)


_HEADINGS: Final = ("dataset", "kind", "class", "size", "objects", "small", "oldest", "$/month")


def _row(one: SurveyedDataset, prefix: str, survey: Survey) -> tuple[str, ...]:
    age = "-" if one.oldest is None else rounded_age(max(survey.as_of - one.oldest, timedelta(0)))
    kind = one.kind if one.kind not in {"files", "hive"} else f"{one.kind} {one.format}"
    classes = [figures.storage_class for figures in one.classes]
    named = classes[0] if len(classes) == 1 else f"{len(classes)} classes"
    return (
        _name(one, prefix),
        f"{kind} *" if one.is_ours else kind,
        _SHORT.get(named, named),
        formatting.size(one.bytes),
        f"{one.objects:,}",
        f"{one.small_files:,}",
        age,
        _money(one.monthly_cost),
    )


_SHORT: Final = {
    "INTELLIGENT_TIERING": "INTELLIGENT",
    "REDUCED_REDUNDANCY": "REDUCED",
}


def _name(one: SurveyedDataset, prefix: str) -> str:
    return one.uri.removeprefix(prefix) if one.uri.startswith(prefix) else "."


def _middle(name: str, width: int) -> str:
    """A name without its middle where it is too long."""
    if name.isascii():
        if len(name) <= width:
            return name
        ahead = (width - 1) // 2
        return f"{name[:ahead]}…{name[len(name) - (width - 1 - ahead) :]}"
    from rich.cells import cell_len, set_cell_size

    if cell_len(name) <= width:
        return name
    ahead = (width - 1) // 2
    return f"{set_cell_size(name, ahead)}…{set_cell_size(name[::-1], width - 1 - ahead)[::-1]}"


def _waste(survey: Survey) -> str:
    rows = [
        (
            one.name,
            "?" if one.count is None else f"{one.count:,}",
            "?" if one.bytes is None else formatting.size(one.bytes),
            "?" if one.monthly_cost is None else _money(one.monthly_cost),
        )
        for one in survey.waste
    ]
    lines = [formatting.table_text(("waste", ">count", ">size", ">$/month"), rows)]
    for one in survey.waste:
        if one.remark:
            lines += _wrapped(f"{one.name}: {one.remark}")
    return "\n".join(lines)


def _policies(survey: Survey) -> str:
    if not survey.policies:
        return "No policy would save more than it costs."
    lines = ["What would save money (policies that move data are alternatives):"]
    for one in survey.policies:
        lines += _policy(one)
    return "\n".join(lines)


def _policy(one: Policy) -> list[str]:
    saved = f"saves {_money(one.monthly_saved)} a month: {_money(one.monthly_now)} now, {_money(one.monthly_then)} then"
    once = f"; {_money(one.one_off)} once" if one.one_off else ""
    amount = f"{formatting.counted(one.objects, 'object')}, {formatting.size(one.bytes)}{once}"
    read = f"; reading all of it once would cost {_money(one.read_once)}" if one.read_once else ""
    return [
        *_wrapped(f"- {one.name}", then="  "),
        *_wrapped(f"{saved}; {amount}{read}", first="  ", then="  "),
        *_wrapped(f"{one.how}; {one.caution}" if one.caution else one.how, first="  ", then="  "),
    ]


def _unknown(survey: Survey) -> str:
    lines = ["What cannot be told:"]
    for one in survey.unknown:
        lines += _wrapped(f"- {one.name}: unknown; {one.reason}. To find out: {one.way}", then="  ")
    return "\n".join(lines)


def _adoption(survey: Survey) -> str:
    datasets = formatting.counted(len(survey.specs), "dataset")
    written = "\n".join(_wrapped(f"{datasets} can be adopted: --out-dir DIR writes the YAML, then"))
    return f"{written}\n  tierlake adopt URI --spec DIR/NAME.yaml"


def _money(dollars: float | None) -> str:
    """Dollars without cents where they are many, and without fractions of one."""
    if dollars is not None and 0 < dollars < _CENT:
        return "<$0.01"
    if dollars is not None and abs(dollars) >= _MANY_DOLLARS:
        return f"${dollars:,.0f}"
    return formatting.money(dollars)


def _wrapped(text: str, *, first: str = "", then: str = "  ") -> Iterable[str]:
    return textwrap.wrap(
        blanked(text),
        WIDTH,
        initial_indent=first,
        subsequent_indent=then,
        break_long_words=False,
        break_on_hyphens=False,
    )
