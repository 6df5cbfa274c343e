"""Makes .venv and installs tierlake into it, editable, at the versions of constraints.txt.

    python3 tools/venv.py demo     # what the demo needs
    python3 tools/venv.py dev      # and what the tests need
    python3 tools/venv.py dev,engines,executors   # and what is large and the slow ones alone need

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

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
CONSTRAINTS = ROOT / "constraints.txt"

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


def main(extra: str) -> int:
    """Makes the environment if it is missing, then installs; returns an exit code."""
    if not PYTHON.exists() and not make_venv():
        return 1
    say(f"installing tierlake[{extra}] into .venv (the first time this takes a minute or two)")
    if not install(extra):
        say("the installation failed; pip's output above says why")
        return 1
    return 0


def make_venv() -> bool:
    """Makes .venv with the running Python; False, with a line that says what to do, if it cannot."""
    try:
        import ensurepip  # noqa: F401 - only whether it is there
        import venv  # noqa: F401
    except ImportError:
        say(NO_VENV.format(python=sys.executable))
        return False
    say(f"making .venv with Python {sys.version.split()[0]}")
    # A subprocess, not venv.create(): a half-made folder then never looks finished.
    if subprocess.call([sys.executable, "-m", "venv", "--clear", str(VENV)]) != 0:
        shutil.rmtree(VENV, ignore_errors=True)
        say(NO_VENV.format(python=sys.executable))
        return False
    return True


def install(extra: str) -> bool:
    """Installs the tree with the extra: with uv if that works, else with pip."""
    wanted = ["--constraint", str(CONSTRAINTS), "--editable", f"{ROOT}[{extra}]"]
    pip = [str(PYTHON), "-m", "pip"]
    got_uv = [*pip, "install", "--quiet", "--constraint", str(CONSTRAINTS), "uv"]
    uv = [str(VENV / "bin" / "uv"), "pip", "install", "--quiet", "--python", str(PYTHON)]
    if subprocess.call(got_uv) == 0:
        # as pip does: else every process compiles what it imports, where it may not write
        if subprocess.call([*uv, "--compile-bytecode", *wanted], env={**os.environ, **uv_environ(pip_config())}) == 0:
            return True
        say("uv could not install it: trying with pip")
    return subprocess.call([*pip, "install", "--quiet", *wanted]) == 0


def pip_config() -> dict[str, str]:
    """What pip is configured to do, from its files and its environment."""
    listed = subprocess.run(
        [str(PYTHON), "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
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
    sys.exit(main(sys.argv[1]))
