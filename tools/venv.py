"""Makes .venv and installs tierlake into it, editable, at the versions of constraints.txt.

    python3 tools/venv.py demo     # what the demo needs
    python3 tools/venv.py dev      # and what the tests need
    python3 tools/venv.py dev,engines,executors   # and what is large and the slow ones alone need
    python3 tools/venv.py dev lowest              # .venv-lowest, at the versions of constraints-lowest.txt
    python3 tools/venv.py peers peers             # .venv-peers, without tierlake: what constraints-peers.txt lists

uv installs (from PyPI, into the same .venv) because it is quick. It does not read pip's configuration, so this reads
it for it: an index, a certificate or an offline folder set for pip (pip.conf, PIP_*) holds here too. Where uv fails,
pip has the last word.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent


class Environment(NamedTuple):
    """A virtual environment of the working tree, and the versions in it.

    Attributes:
        name: Its folder.
        constraints: The file of the versions.
        has_tierlake: Whether the tree is installed there too; otherwise all that the file lists is.
    """

    name: str
    constraints: str
    has_tierlake: bool = True

    @property
    def folder(self) -> Path:
        """Where it is."""
        return ROOT / self.name

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    def requested(self, extra: str) -> list[str]:
        """What pip and uv are to install."""
        constraints = str(ROOT / self.constraints)
        if not self.has_tierlake:
            return ["--requirement", constraints]
        return ["--constraint", constraints, "--editable", f"{ROOT}[{extra}]"]


ENVIRONMENTS = {
    "newest": Environment(".venv", "constraints.txt"),
    "lowest": Environment(".venv-lowest", "constraints-lowest.txt"),
    "peers": Environment(".venv-peers", "constraints-peers.txt", has_tierlake=False),
}

PATIENCE_SECONDS = 4

# pip's setting -> uv's variable. pip writes lists one item a line, uv wants spaces.
UV_VARIABLES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "timeout": "UV_HTTP_TIMEOUT",
    "no-index": "UV_NO_INDEX",
}

NO_VENV = """\
{python} cannot make virtual environments: its modules venv and ensurepip are missing.
Install them (on Debian and Ubuntu: apt-get install python3-venv), then run make again."""


def main(extra: str, versions: str = "newest") -> int:
    """Makes the environment if it is missing, then installs; returns an exit code."""
    environment = ENVIRONMENTS[versions]
    if not environment.python.exists() and not make_venv(environment):
        return 1
    what = f"tierlake[{extra}]" if environment.has_tierlake else extra
    say(f"installing {what} into {environment.name} (the first time this takes a minute or two)")
    if not install(environment, extra):
        say("the installation failed; pip's output above says why")
        return 1
    return 0


def make_venv(environment: Environment) -> bool:
    """Makes it with the running Python; False, with a line that says what to do, if it cannot."""
    try:
        import ensurepip  # noqa: F401 - only whether it is there
        import venv  # noqa: F401
    except ImportError:
        say(NO_VENV.format(python=sys.executable))
        return False
    say(f"making {environment.name} with Python {sys.version.split()[0]}")
    # A subprocess, not venv.create(): a half-made folder then never looks finished.
    if run([sys.executable, "-m", "venv", "--clear", str(environment.folder)], "making it") != 0:
        shutil.rmtree(environment.folder, ignore_errors=True)
        say(NO_VENV.format(python=sys.executable))
        return False
    return True


def install(environment: Environment, extra: str) -> bool:
    """Installs the tree with the extra: with uv if that works, else with pip."""
    requested = environment.requested(extra)
    python = str(environment.python)
    pip = [python, "-m", "pip"]
    # uv installs, it is not under test: the newest, whatever the constraints are
    quiet = [] if sys.stderr.isatty() else ["--quiet"]  # on a terminal uv shows how far it is
    uv_itself = [*pip, "install", "--quiet", "--constraint", str(ROOT / "constraints.txt"), "uv"]
    uv = [str(environment.folder / "bin" / "uv"), "pip", "install", *quiet, "--python", python]
    if run(uv_itself, "fetching uv") == 0:
        # as pip does: else every process compiles what it imports, where it may not write
        index = uv_environ(pip_config(environment))
        if run([*uv, "--compile-bytecode", *requested], "installing", env={**os.environ, **index}) == 0:
            return True
        say("uv could not install it: trying with pip")
    return run([*pip, "install", "--quiet", *requested], "installing") == 0


def run(command: list[str], activity: str, env: dict[str, str] | None = None) -> int:
    """Runs a command to its end, and says every few seconds that it goes on; returns its exit code."""
    seconds = 0
    with subprocess.Popen(command, env=env) as process:
        while True:
            try:
                return process.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                seconds += PATIENCE_SECONDS
                if not sys.stderr.isatty():
                    say(f"still {activity} ({seconds} s)")


def pip_config(environment: Environment) -> dict[str, str]:
    """What pip is configured to do, from its files and its environment."""
    listed = subprocess.run(
        [str(environment.python), "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    return parse_pip_config(listed)


def parse_pip_config(listed: str) -> dict[str, str]:
    """Reads the output of `pip config list`: the environment wins over the command's section over [global]."""
    sections: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for line in listed.splitlines():
        name, _, literal = line.partition("=")
        section, _, option = name.rpartition(".")
        if section in sections:
            sections[section][option] = str(ast.literal_eval(literal))
    return {**sections["global"], **sections["install"], **sections[":env:"]}


def uv_environ(config: dict[str, str]) -> dict[str, str]:
    """Says the same in uv's variables; what is set for uv already stays."""
    return {
        variable: " ".join(config[option].split())
        for option, variable in UV_VARIABLES.items()
        if option in config and variable not in os.environ
    }


def say(line: str) -> None:
    """One line on stderr, under our name."""
    sys.stderr.write(f"tierlake: {line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
