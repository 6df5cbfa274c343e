#!/bin/sh
# Asks PyPI which of the versions in constraints.txt have known vulnerabilities. Online, and by hand: no test depends on it.
# A package that PyPI does not tell of fails it, as an index without PyPI's JSON answers nothing: silence is no proof.
set -eu
cd "$(dirname "$0")/.."
python=$(tools/python.sh)
[ -x .venv-audit/bin/pip-audit ] || { "$python" -m venv .venv-audit && .venv-audit/bin/pip install --quiet "pip-audit>=2.10"; }
.venv-audit/bin/pip-audit --strict --no-deps --disable-pip --requirement constraints.txt
