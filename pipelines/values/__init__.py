"""Values on their way into a table: each is stored exactly as it came, or its cell is named with a reason.

`fit` turns an Arrow column into a stored type, cell by cell, `texts_of` into text. `meets` says whether two types can
share a column at all, `wider` which type both can be stored in without loss, `TextTypes` which type the texts of a
column have.
"""

from tierlake.pipelines.values.as_text import texts_of
from tierlake.pipelines.values.fitting import Fitted, fit
from tierlake.pipelines.values.text_types import Spoiler, Spoilers, TextTypes
from tierlake.pipelines.values.types import meets, wider

__all__ = ["Fitted", "Spoiler", "Spoilers", "TextTypes", "fit", "meets", "texts_of", "wider"]
