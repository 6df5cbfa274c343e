"""Gauges of a dataset for whoever observes, after a job or a check has looked at all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tierlake.connector import observe
from tierlake.connector.errors import LakeError

if TYPE_CHECKING:
    from datetime import date

    from tierlake.pipelines import Dataset

__all__ = ["emit_figures"]


def emit_figures(context: Any, dataset: Dataset, as_of: date | None) -> None:
    """Compute a dataset's figures, where anybody observes; where the store fails, the work before still stands.

    Args:
        context: Dagster's, for its log.
        dataset: The dataset.
        as_of: The day by which the policies judge; None is now.
    """
    if not observe.is_on():
        return
    try:
        dataset.figures(as_of, uploads=True).emit()
    except LakeError as error:
        context.log.warning("done, and its figures could not be computed: %s: %s", error.code, error)
