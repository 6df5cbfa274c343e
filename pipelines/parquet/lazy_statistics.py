"""Statistics that are made when somebody reads them: for a table of many columns, most of the work on its log."""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["HasStatistics", "LazyStatistics"]


class LazyStatistics:
    """The field `stats` of a value: a text, or a function that makes it when it is read first.

    Plans and listings never read it, nor do reads without a filter.
    """

    @overload
    def __get__(self, value: None, owner: type) -> None: ...
    @overload
    def __get__(self, value: object, owner: type) -> str | None: ...
    def __get__(self, value: object | None, owner: type) -> str | None:
        if value is None:  # the field's default
            return None
        stats: str | Callable[[], str | None] | None = value.__dict__["stats"]
        if callable(stats):
            stats = value.__dict__["stats"] = stats()
        return stats

    def __set__(self, value: object, stats: str | Callable[[], str | None] | None) -> None:
        value.__dict__["stats"] = stats


class HasStatistics:
    """A value with `LazyStatistics`, which goes to another process with the text."""

    stats: LazyStatistics

    def __getstate__(self) -> dict[str, object]:
        """The values, without the function."""
        return {**self.__dict__, "stats": self.stats}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
