"""What a call asks of a store, request by request, the Rust libraries' requests included.

A proxy in a process of its own writes them down: some calls of deltalake hold the interpreter's lock until they are
answered, and a proxy in the same process would never answer them. `Ledger.page` is what a test compares:

    3 GET  _delta_log/*.json, 2 times each

stands for three objects, each of which was fetched twice by requests that are equal in every respect.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from tests import ROOT
from tests.faults.proxy import Proxy

KINDS = (
    (re.compile(r"_delta_log/\d{20}\.json$"), "_delta_log/*.json"),
    (re.compile(r"_delta_log/\d{20}\.checkpoint\.parquet$"), "_delta_log/*.checkpoint.parquet"),
    (re.compile(r"_lake/journal/([a-z]+)-[^/]+\.json$"), r"_lake/journal/\1-*.json"),
    (re.compile(r"_lake/runs/[^/]+\.json$"), "_lake/runs/*.json"),
    (re.compile(r"date=[^/]+/[^/]+\.parquet$"), "date=*/*.parquet"),
    (re.compile(r"date=[^/]+"), "date=*"),
)
"""Keys that differ from run to run, as a ledger spells them."""


@dataclass(frozen=True)
class Entry:
    """One request: all in which two of them can differ, but for times and signatures."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    range: str | None
    is_copy: bool
    body: str

    def kind(self, bucket: str, root: str) -> str:
        """The operation and the kind of key, without what differs from run to run."""
        key = self.path.removeprefix(f"/{bucket}").removeprefix("/")
        query = {name: value for name, value in self.query if name not in {"encoding-type", "x-id"}}
        method = self.method
        if query.pop("list-type", None):
            method, key = "LIST", query.pop("prefix", "")
        elif "versions" in query:
            method, key = "LIST versions", query.pop("prefix", "")
            del query["versions"]
        elif "delete" in query:
            method, key = "DELETE", "keys"
            del query["delete"]
        elif self.is_copy:
            method = "COPY"
        key = f"/{key}" if not f"{key}/".startswith(f"{root}/") else key.removeprefix(root).removeprefix("/")
        for pattern, name in KINDS:
            key = pattern.sub(name, key)
        after = " after a version" if query.pop("start-after", None) else ""
        few = " one" if query.pop("max-keys", None) == "1" else ""
        flat = " names" if query.pop("delimiter", None) == "/" else ""
        query.pop("versionId", None)
        asked = "".join(f"?{name}" for name in sorted(query))
        part = " range" if self.range else ""
        return f"{method} {key or '.'}{asked}{few}{flat}{after}{part}"


class Ledger:
    """The requests that passed a proxy.

    Attributes:
        url: The endpoint to use.
    """

    def __init__(self, url: str, file: Path) -> None:
        self.url, self._file, self._begin = url, file, 0

    def turn_page(self) -> None:
        """Forget what was asked so far."""
        self._begin = len(self._file.read_text().splitlines())

    def entries(self) -> list[Entry]:
        """What was asked since, in order."""
        written = [json.loads(line) for line in self._file.read_text().splitlines()[self._begin :]]
        return [Entry(m, p, tuple(map(tuple, q)), r, c, b) for m, p, q, r, c, b in written]

    def page(self, bucket: str, root: str = "daily") -> list[str]:
        """What was asked since, one line a kind, sorted; see the module."""
        kinds: dict[str, Counter[Entry]] = defaultdict(Counter)
        for entry in self.entries():
            kinds[entry.kind(bucket, root)][entry] += 1
        lines = []
        for kind, entries in sorted(kinds.items()):
            times = sorted(set(entries.values()))
            again = "" if times == [1] else f", {' or '.join(map(str, times))} times each"
            lines.append(f"{len(entries)} {kind}{again}")
        return lines


@contextmanager
def recording(upstream: str, folder: Path) -> Iterator[Ledger]:
    """A ledger of what is asked of a server through `Ledger.url`."""
    file = folder / "requests.jsonl"
    file.touch()
    command = [sys.executable, "-m", "tests.ledger", upstream, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            yield Ledger(child.stdout.readline().strip(), file)
        finally:
            child.stdin.close()


def _record(upstream: str, file: Path) -> None:
    with file.open("a", buffering=1) as ledger:

        class Recorder(Proxy):
            def _ask(self, head: list[bytes], body: bytes) -> bytes:
                answer = super()._ask(head, body)
                method, target, _ = head[0].decode("latin-1").split(" ", 2)
                headers = dict(line.decode("latin-1").lower().split(":", 1) for line in head[1:])
                url = urlsplit(target)
                entry = (
                    method,
                    unquote(url.path),
                    sorted(parse_qsl(url.query, keep_blank_values=True)),
                    headers.get("range"),
                    "x-amz-copy-source" in headers,
                    hashlib.sha256(body).hexdigest() if method in {"POST", "PUT"} else "",
                )
                ledger.write(json.dumps(entry) + "\n")
                return answer

        with Recorder(upstream) as proxy:
            print(proxy.url, flush=True)  # noqa: T201 - to the parent
            sys.stdin.read()


if __name__ == "__main__":
    _record(sys.argv[1], Path(sys.argv[2]))
