"""Objects in memory, as far as what reads the records beside a table asks for them: parsers are given bytes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

__all__ = ["AT", "Stored"]

AT: Final = datetime(2014, 1, 1, 12, tzinfo=UTC)


class Stored:
    """A store of a few objects."""

    def __init__(self, objects: dict[str, bytes]) -> None:
        self._objects = objects

    def read_with_etag(self, path: str) -> tuple[bytes, str]:
        return self.cat_file(path), "etag"

    def cat_file(self, path: str) -> bytes:
        if path not in self._objects:
            raise FileNotFoundError(path)
        return self._objects[path]

    def cat_ranges(self, paths: list[str], _starts: Any, _ends: Any, on_error: str = "raise") -> list[Any]:
        assert on_error == "return"
        return [self._objects.get(path, FileNotFoundError(path)) for path in paths]

    def list_fresh(self, folder: str) -> dict[str, dict[str, Any]]:
        return {
            path: {"LastModified": AT, "type": "file", "size": len(data)}
            for path, data in self._objects.items()
            if path.startswith(f"{folder}/")
        }
