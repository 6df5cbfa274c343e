"""The edge of a table: errors of libraries inside leave it as errors of ours, and are reported."""

from __future__ import annotations

import functools
import inspect
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
from deltalake.exceptions import DeltaError

from tierlake.connector.client.error_mapping import hint_for
from tierlake.connector.client.rust_errors import from_rust
from tierlake.connector.errors import LakeError, LibraryError, ObjectNotFound
from tierlake.connector.observe.edges import edge as reported_edge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["as_lake_error", "edge", "in_words_of_ours"]

TableT = TypeVar("TableT")


def edge(kind: type[TableT]) -> type[TableT]:
    """A class whose public methods and properties turn errors of libraries into ours.

    It wraps all of them, so that a new method need not remember to.
    """
    for name, member in list(vars(kind).items()):
        if name.startswith("_"):
            continue
        if inspect.isfunction(member):
            setattr(kind, name, _guarded(member))
        elif isinstance(member, property) and member.fget is not None:
            setattr(kind, name, property(_guarded(member.fget), doc=member.__doc__))
        elif isinstance(member, classmethod):
            setattr(kind, name, classmethod(_guarded(member.__func__, root_at=2)))
    return reported_edge(kind, properties=[name for name, one in vars(kind).items() if isinstance(one, property)])


@contextmanager
def in_words_of_ours(root: str) -> Iterator[None]:
    """Run calls of deltalake or Arrow within.

    Args:
        root: The table's `bucket/prefix`.

    Raises:
        LakeError: In the place of their errors.
    """
    try:
        yield
    except LakeError:
        raise
    except (DeltaError, OSError, pa.ArrowException, json.JSONDecodeError) as error:
        raise as_lake_error(error, root) from error


def as_lake_error(error: Exception, root: str) -> LakeError:
    """Our error for one of deltalake or Arrow.

    Args:
        error: Their error, or one of ours already.
        root: The table's `bucket/prefix`.
    """
    if isinstance(error, LakeError):
        return error
    bucket = root.partition("/")[0]
    if isinstance(error, FileNotFoundError):
        return ObjectNotFound(str(error), hint=hint_for(ObjectNotFound, "reading"), bucket=bucket)
    if isinstance(error, pa.ArrowException | json.JSONDecodeError):
        library = type(error).__module__.partition(".")[0]
        return LibraryError.of(error, library, bucket=bucket, key=root.partition("/")[2])
    return from_rust(error, bucket)


def _guarded(method: Callable[..., Any], root_at: int = 0) -> Callable[..., Any]:
    @functools.wraps(method)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        root = str(args[root_at] if root_at else args[0].root)
        with in_words_of_ours(root):
            return method(*args, **kwargs)

    return guarded
