"""What a trace viewer expects of a file, and the spans in it."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def drawn(path: Path) -> list[dict[str, Any]]:
    """The complete events of a file, after a check that Perfetto draws them.

    Each event has the keys that the format documents for its phase, and on a track events lie within each other or
    apart.
    """
    document = json.loads(path.read_text())
    events = [event for event in document["traceEvents"] if event["ph"] == "X"]
    names = [event for event in document["traceEvents"] if event["ph"] == "M"]
    assert len(events) + len(names) == len(document["traceEvents"])
    tracks: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for event in events:
        assert set(event) == {"ph", "name", "cat", "ts", "dur", "pid", "tid", "args"}
        assert all(type(event[name]) is int for name in ("ts", "dur", "pid", "tid"))
        assert event["dur"] >= 0
        tracks[event["pid"], event["tid"]].append((event["ts"], -event["dur"]))
    for name in names:
        assert name["name"] in {"process_name", "thread_name"}
        assert name["args"]["name"]
    assert {(name["pid"], name["tid"]) for name in names if name["name"] == "thread_name"} >= set(tracks)
    for track in tracks.values():
        open_until: list[int] = []
        for begin, negated in sorted(track):
            end = begin - negated
            while open_until and open_until[-1] <= begin:
                open_until.pop()
            assert not open_until or end <= open_until[-1], "events overlap on a track"
            open_until.append(end)
    return events
