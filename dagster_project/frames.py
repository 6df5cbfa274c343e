"""Annotations for assets that name a table's type without importing its library.

    from dagster_project.frames import ArrowTable, DataFrame

    @dg.asset
    def summary(flights: ArrowTable) -> DataFrame: ...

To a type checker they are `pyarrow.Table` and `pandas.DataFrame`. At run time they are stand-ins whose `isinstance`
recognises the real ones by name, so that loading definitions imports neither library (which takes a second), and the
IO manager knows what to hand in. The real classes work as annotations just as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["ArrowTable", "DataFrame", "type_name"]

if TYPE_CHECKING:
    from pandas import DataFrame
    from pyarrow import Table as ArrowTable
else:

    class _ByName(type):
        """A class that is recognised by its name: `isinstance` without the import."""

        stands_for: str

        def __instancecheck__(cls, instance: object) -> bool:
            return any(cls.stands_for == type_name(base) for base in type(instance).__mro__)

    class ArrowTable(metaclass=_ByName):
        """A `pyarrow.Table`."""

        stands_for = "pyarrow.Table"

    class DataFrame(metaclass=_ByName):
        """A `pandas.DataFrame`."""

        stands_for = "pandas.DataFrame"


def type_name(annotation: object) -> str:
    """`pandas.DataFrame`, `pyarrow.Table`, ...: the library and the class, whatever module defines it.

    Empty for what is not a class (Any, a union, nothing).
    """
    if isinstance(stands_for := getattr(annotation, "stands_for", None), str):
        return stands_for
    if annotation is Any or not isinstance(annotation, type):
        return ""
    return f"{annotation.__module__.partition('.')[0]}.{annotation.__qualname__}"
