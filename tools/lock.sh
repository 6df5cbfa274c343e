#!/bin/sh
# Writes constraints.txt: one version of every package that any extra needs, for every platform and Python from 3.11.
# No address of an index and no path goes into it, so it holds wherever the packages come from.
set -eu
cd "$(dirname "$0")/.."
new=$(mktemp)
trap 'rm -f "$new"' EXIT
uv=$(command -v .venv/bin/uv || command -v uv)
"$uv" pip compile pyproject.toml --all-extras --universal --python-version 3.11 --upgrade --quiet \
    --no-header --no-annotate --no-emit-index-url --no-emit-find-links --output-file "$new" >/dev/null
{
    echo "# One version of each package, for every platform and Python from 3.11: written by \`make lock\`."
    cat "$new"
} >constraints.txt
echo "constraints.txt: $(grep -c == constraints.txt) packages"
