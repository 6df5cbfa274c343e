"""Anything a user hands over, as Arrow batches whose rows know where they come from.

`open_source` opens a source as a `RowStream`; `split` cuts one into pieces that workers read.
"""

from tierlake.pipelines.model.text_options import TextOptions
from tierlake.pipelines.sources.limits import SourceLimits
from tierlake.pipelines.sources.open import open_source
from tierlake.pipelines.sources.splits import Piece, Pieces, split, together
from tierlake.pipelines.sources.stream import RowStream, SourceBatch

__all__ = [
    "Piece",
    "Pieces",
    "RowStream",
    "SourceBatch",
    "SourceLimits",
    "TextOptions",
    "open_source",
    "split",
    "together",
]
