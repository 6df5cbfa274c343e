"""Values on their way into a table: each is stored exactly as it came, or its cell is named with a reason.

`fit` turns an Arrow column into a stored type, cell by cell. `meets` says whether two types can share a column at all,
`wider` which type both can be stored in without loss.
"""

from pipelines.values.fitting import Fitted, fit
from pipelines.values.types import meets, wider

__all__ = ["Fitted", "fit", "meets", "wider"]
