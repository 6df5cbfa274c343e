"""Tests. They stand in the same rooms as what they test; `servers/` has the rigs, `faults/` what breaks in between."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
