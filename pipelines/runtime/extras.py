"""Packages that only some users need: where one is missing, the error says what to install."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from tierlake.pipelines.errors import PackageMissing

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["needing"]


@contextmanager
def needing(package: str, what: str, *, extra: str | None = None) -> Iterator[None]:
    """Import a package of an extra inside.

        with needing("matplotlib", "plot()", extra="plot"):
            from matplotlib.figure import Figure

    Args:
        package: The package, as it is imported.
        what: What needs it.
        extra: The extra of ours that brings it; the package's name by default.

    Raises:
        PackageMissing: The package is not installed. What the package itself cannot import is reported as it is.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != package:
            raise
        hint = f"pip install 'tierlake[{extra or package}]'"
        raise PackageMissing(f"{what} needs {package}, which is not installed", hint=hint) from error
