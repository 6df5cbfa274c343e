"""The types of assets' inputs: which one an annotation names, and annotations that import nothing.

    from tierlake.dagster_project.io.frames import ArrowTable, DataFrame

    @dg.asset
    def summary(flights: ArrowTable) -> DataFrame: ...

To a type checker they are `pyarrow.Table` and `pandas.DataFrame`. At run time they are stand-ins whose `isinstance`
recognises the real ones by name, so that loading definitions imports neither library (which takes a second), and the
IO manager knows what to load. The real classes work as annotations just as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Final, Literal, Union, get_args, get_origin

if TYPE_CHECKING:
    import pyarrow as pa

    from tierlake.pipelines import Dataset
    from tierlake.pipelines.model.partition_key import PartitionKey

__all__ = ["ArrowTable", "DataFrame", "InputType", "input_type", "type_name"]

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


Kind = Literal[
    "pandas.DataFrame",
    "polars.DataFrame",
    "polars.LazyFrame",
    "pyarrow.Table",
    "pyarrow.RecordBatchReader",
    "pyarrow.Dataset",
    "dask.DataFrame",
]
_KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

_LAZY: Final = frozenset[Kind]({"polars.LazyFrame", "pyarrow.RecordBatchReader", "pyarrow.Dataset", "dask.DataFrame"})

_SHOWN_AS: Final = {"pyarrow.Dataset": "pyarrow.dataset.Dataset", "dask.DataFrame": "dask.dataframe.DataFrame"}


def type_name(annotation: object) -> str:
    """`pandas.DataFrame`, `pyarrow.Table`, ...: the library and the class, whatever module defines it.

    Empty for what is not a class (Any, a union, nothing).
    """
    if isinstance(stands_for := getattr(annotation, "stands_for", None), str):
        return stands_for
    if annotation is Any or not isinstance(annotation, type):
        return ""
    return f"{annotation.__module__.partition('.')[0]}.{annotation.__qualname__}"


@dataclass(frozen=True, slots=True)
class InputType:
    """The type that an input's annotation names.

    Attributes:
        kind: The library and the class.
        by_key: Whether it is a dict of these, by Dagster's partition key.
    """

    kind: Kind = "pandas.DataFrame"
    by_key: bool = False

    @property
    def is_lazy(self) -> bool:
        """Whether its rows are read when somebody asks for them, and not before."""
        return self.kind in _LAZY

    def read(self, dataset: Dataset, columns: list[str] | None, keys: list[PartitionKey] | None) -> object:
        """The rows of some partitions in this type; None means all."""
        match self.kind:
            case "pandas.DataFrame":
                return dataset.to_pandas(columns, keys=keys)
            case "polars.DataFrame":
                return dataset.to_polars(columns, keys=keys)
            case "polars.LazyFrame":
                return dataset.to_lazy(columns, keys=keys)
            case "pyarrow.Table":
                return dataset.read(columns, keys=keys)
            case "pyarrow.RecordBatchReader":
                return dataset.to_reader(columns, keys=keys)
            case "pyarrow.Dataset":
                return dataset.scan(keys=keys)
            case "dask.DataFrame":
                return dataset.to_dask(columns, keys=keys)

    def of(self, rows: pa.Table) -> object:
        """Rows in memory in this type."""
        from tierlake.pipelines.query.read import pandas_frame, polars_frame

        match self.kind:
            case "pandas.DataFrame":
                return pandas_frame(rows)
            case "polars.DataFrame":
                return polars_frame(rows)
            case "polars.LazyFrame":
                return polars_frame(rows).lazy()
            case "pyarrow.Table":
                return rows
            case "pyarrow.RecordBatchReader":
                return rows.to_reader()
            case "pyarrow.Dataset":
                import pyarrow.dataset as pads

                return pads.dataset(rows)
            case "dask.DataFrame":
                import dask.dataframe as dd

                from_pandas: Any = dd.from_pandas  # it has no types
                return from_pandas(pandas_frame(rows), npartitions=1)


def input_type(name: str, annotation: object) -> InputType:
    """The type of an input; a pandas frame without an annotation.

    Args:
        name: The input's, for messages.
        annotation: The input's annotation.

    Raises:
        TypeError: The IO manager does not know it.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in {Union, UnionType}:
        rest = [one for one in arguments if one is not NoneType]
        if len(rest) == 1:
            return input_type(name, rest[0])
    elif origin is dict and arguments[0] is str:
        inner = input_type(name, arguments[1])
        if not inner.by_key:
            return InputType(inner.kind, by_key=True)
    elif annotation in {None, Any, NoneType}:
        return InputType()
    else:
        for kind in _KINDS:
            if type_name(annotation) == kind:
                return InputType(kind)
    requested = type_name(annotation) or str(annotation)
    names = [_SHOWN_AS.get(kind, kind) for kind in _KINDS]
    message = f"input {name} asks for {requested}: annotate it {', '.join(names[:-1])} or {names[-1]}"
    raise TypeError(f"{message}; or dict[str, one of these], by partition key; without an annotation it is pandas")
