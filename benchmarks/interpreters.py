"""Which interpreter has what a contender needs: not all of them fit into one environment."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks.model import Contender

PEERS = Path(__file__).resolve().parent.parent / ".venv-peers" / "bin" / "python"
"""The environment of peers that do not fit to our pyarrow; `make bench` makes it."""

_LOOK = """
import importlib.util, json, sys

def is_there(module):
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # what it is in is not there either
        return False

print(json.dumps([module for module in sys.argv[1:] if is_there(module)]))
"""
_VERSIONS = """
import importlib.metadata, json, sys
versions = {}
for name in sys.argv[1:]:
    try:
        versions[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
print(json.dumps(versions))
"""


class Interpreters:
    """The interpreters that there are, in order of preference.

    Args:
        others: To look in after this one and that of the peers.
    """

    def __init__(self, others: Iterable[Path] = ()) -> None:
        self._paths = [Path(sys.executable), *(path for path in (PEERS, *others) if path.exists())]
        self._modules: dict[Path, set[str]] = {path: set() for path in self._paths}
        self._looked: set[str] = set()

    def having(self, contender: Contender) -> Path | None:
        """The first that has all modules the contender needs."""
        missing = [name for name in contender.needs if name not in self._looked]
        if missing:
            for path in self._paths:
                self._modules[path].update(_run(path, _LOOK, missing))
            self._looked.update(missing)
        return next((path for path in self._paths if self._modules[path].issuperset(contender.needs)), None)

    def versions(self, contender: Contender) -> dict[str, str]:
        """The versions of what it needs, where it runs."""
        path = self.having(contender)
        names = [name.replace("_", "-") for name in contender.needs]
        return dict(_run(path, _VERSIONS, names)) if path else {}


def _run(path: Path, code: str, arguments: list[str]) -> list[str] | dict[str, str]:
    command = [str(path), "-P", "-c", code, *arguments]
    found: list[str] | dict[str, str] = json.loads(
        subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    )
    return found
