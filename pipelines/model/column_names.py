"""Names of columns that cannot be told apart: tables do not tell upper from lower case."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["clash"]


def clash(names: Iterable[str], *, like: Iterable[str] = ()) -> tuple[str, str] | None:
    """The first name that is another one again, or differs from it by case alone, with that other one.

    Args:
        names: The names.
        like: Names that may come again, though not in another case.

    Returns:
        The other name, then the name; None where all can be told apart.
    """
    known = {name.lower(): name for name in like}
    seen: dict[str, str] = {}
    for name in names:
        lower = name.lower()
        if lower in seen:
            return seen[lower], name
        if known.get(lower, name) != name:
            return known[lower], name
        seen[lower] = name
    return None
