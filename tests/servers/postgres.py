"""A Postgres of the tests' own, in a temporary folder, on a free port; from the system's packages."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["postgres_programs", "postgres_rig"]

USER = "postgres"  # it refuses to run as root


def postgres_programs() -> Path | None:
    """The folder with initdb and pg_ctl: on PATH, or where Debian keeps it; None where there is no Postgres."""
    on_path = shutil.which("pg_ctl")
    if on_path:
        return Path(on_path).resolve().parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
    return versions[-1].parent if versions else None


@contextmanager
def postgres_rig() -> Iterator[str]:
    """Its URL for SQLAlchemy (2.1 takes psycopg 3 where no driver is named, and Dagster brings psycopg2).

    Without a password, through a socket in the folder: nothing listens on the network.
    """
    programs = postgres_programs()
    assert programs
    user = USER if os.getuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    if user:
        shutil.chown(folder, user)

    def run(program: str, *arguments: str) -> None:
        command = [programs / program, "-D", folder / "data", *arguments]
        log = folder / f"{program}.log"
        with log.open("w") as out:
            done = subprocess.run(
                command, user=user, cwd=folder, stdout=out, stderr=out, stdin=subprocess.DEVNULL, check=False
            )
        assert done.returncode == 0, log.read_text()

    try:
        run("initdb", "-U", USER, "-A", "trust", "--no-sync")
        run("pg_ctl", "-w", "-o", f"-c listen_addresses='' -k {folder} -F", "-l", str(folder / "server.log"), "start")
        try:
            yield f"postgresql+psycopg2://{USER}@/postgres?host={folder}"
        finally:
            run("pg_ctl", "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)
