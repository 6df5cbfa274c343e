"""Two descriptions of one dataset: where they differ, field by field and in the words of YAML.

A whole description (a `DatasetSpec`, a YAML file) is the desired state: a field that it leaves out means its default,
but for the format and the partitioning, which are the table's own and never change. A mapping says some fields; all
others are as they are stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import yaml
from pydantic import BaseModel, ConfigDict

from tierlake.pipelines.errors import SpecDiffers
from tierlake.pipelines.model.spec import DatasetSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FieldChange", "check_agrees", "completed", "differences"]

_TABLES_OWN = ("format", "partition")
_SHOWN = 5
_LINE = 10_000  # characters: YAML breaks none of ours


class FieldChange(BaseModel):
    """One field in which two descriptions differ.

    Attributes:
        field: Its name as YAML nests it: `retention.expire_after`.
        before: Its value in YAML's words; None where the field is not there, as an undeclared column.
        after: Likewise, in the other description.
    """

    model_config = ConfigDict(frozen=True)

    field: str
    before: str | None = None
    after: str | None = None

    def __str__(self) -> str:
        return f"{self.field} {self.before or 'not there'} -> {self.after or 'not there'}"


def completed(stored: DatasetSpec, described: DatasetSpec | Mapping[str, object]) -> DatasetSpec:
    """The whole of what a caller says, for the place where the dataset lies.

    Args:
        stored: The description that is stored with the dataset.
        described: A whole description, or some fields of one.

    Raises:
        SpecError: The fields contradict the others.
    """
    if isinstance(described, Mapping):
        fields = _merged(stored.model_dump(), {name: value for name, value in described.items() if name != "uri"})
        return DatasetSpec(**fields)
    own = {name: getattr(stored, name) for name in _TABLES_OWN if name not in described.model_fields_set}
    return described.model_copy(update={**own, "uri": stored.uri})


def differences(before: DatasetSpec, after: DatasetSpec) -> tuple[FieldChange, ...]:
    """The fields in which two descriptions differ, in the order of a spec."""
    return tuple(_different("", before.model_dump(mode="json"), after.model_dump(mode="json")))


def check_agrees(stored: DatasetSpec, described: DatasetSpec | Mapping[str, object], name: str | None = None) -> None:
    """Refuse to go on under a description that is not the one which counts.

    Args:
        stored: The description that is stored with the dataset.
        described: What the caller says.
        name: Of the file that says it.

    Raises:
        SpecDiffers: Naming the fields.
    """
    changes = differences(stored, completed(stored, described))
    if not changes:
        return
    fields = [f"{one.field} is {one.after or 'not there'}, stored as {one.before or 'not there'}" for one in changes]
    more = f"; and {len(fields) - _SHOWN} more" if len(fields) > _SHOWN else ""
    who, file = name or "the description", name or "SPEC.yaml"
    raise SpecDiffers(
        f"{who} differs from what is stored with {stored.uri}: {'; '.join(fields[:_SHOWN])}{more}",
        hint=f"`tierlake diff {file}` shows what that would do and `tierlake apply {file}` makes it so (in Python: "
        f"diff, apply_spec); to go on with what is stored, name {stored.uri} alone, or edit the description back",
    )


def _merged(stored: Mapping[str, object], more: Mapping[str, object]) -> dict[str, object]:
    both = dict(stored)
    for name, value in more.items():
        inner = both.get(name)
        if isinstance(inner, Mapping) and isinstance(value, Mapping) and name != "columns":
            both[name] = _merged(inner, value)
        else:
            both[name] = value
    return both


def _different(path: str, before: object, after: object) -> Iterator[FieldChange]:
    if before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for name in [*before, *(name for name in after if name not in before)]:
            inner = f"{path}.{name}" if path else str(name)
            if name not in after:
                yield FieldChange(field=inner, before=_words(before[name]), after=None)
            elif name not in before:
                yield FieldChange(field=inner, before=None, after=_words(after[name]))
            else:
                yield from _different(inner, before[name], after[name])
        return
    yield FieldChange(field=path, before=_words(before), after=_words(after))


def _words(value: object) -> str:
    """As YAML has it, on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=_LINE, allow_unicode=True)
    return text.strip().removesuffix("\n...")
