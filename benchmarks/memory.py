"""The memory of this process: what Linux counts for it, in bytes."""

from __future__ import annotations

import resource
from contextlib import suppress
from pathlib import Path

STATUS, REFERENCES = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_PEAK = "5"  # see proc(5)
KIB = 1024


def resident() -> int:
    """What is in memory now; 0 where the system does not tell."""
    return _status("VmRSS")


def reset_peak() -> None:
    """The peak begins anew from what is in memory now, where the system can do that."""
    with suppress(OSError):
        REFERENCES.write_text(RESET_PEAK)


def peak() -> int:
    """The most that was in memory since `reset_peak`, or since the process began."""
    return _status("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB


def peak_of_children() -> int:
    """The most that any child took which has ended."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * KIB


def _status(name: str) -> int:
    with suppress(OSError):
        for line in STATUS.read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * KIB
    return 0
