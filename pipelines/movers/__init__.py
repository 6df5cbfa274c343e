"""How a file changes its tier: one way a file, chosen by the server's profile.

    copy    a self-copy with another storage class (AWS, SeaweedFS)
    tag     a tag that a lifecycle rule of the bucket acts on (MinIO's remote tiers)

Other distributions add ways by entry point; the object is called without arguments and returns a `Mover`, or a
`FileMover`, which moves one file a call:

    [project.entry-points."tierlake.movers"]
    tape = "mypackage.movers:TapeMover"
"""

from __future__ import annotations

from importlib.metadata import entry_points

from tierlake.pipelines.errors import SpecError
from tierlake.pipelines.movers.copy import CopyMover
from tierlake.pipelines.movers.one_by_one import FileMover, OneByOne
from tierlake.pipelines.movers.protocol import Move, Moved, Mover, Outcome
from tierlake.pipelines.movers.tag import TagMover

__all__ = ["FileMover", "Move", "Moved", "Mover", "Outcome", "get_mover"]

ENTRY_POINTS = "tierlake.movers"


def get_mover(name: str) -> Mover:
    """The mover of this name.

    Raises:
        SpecError: There is none.
    """
    ours: dict[str, Mover] = {"copy": CopyMover(), "tag": TagMover()}
    if name in ours:
        return ours[name]
    for entry in entry_points(group=ENTRY_POINTS, name=name):
        theirs = entry.load()()
        return theirs if hasattr(theirs, "move_many") else OneByOne(theirs)
    known = sorted({*ours, *entry_points(group=ENTRY_POINTS).names})
    raise SpecError(f"there is no mover {name!r}; there are {', '.join(known)}")
