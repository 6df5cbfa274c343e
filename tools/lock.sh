#!/bin/sh
# Writes constraints.txt: one version of every package that any extra needs, for every platform and Python from 3.11.
# And constraints-lowest.txt: the lowest version that pyproject.toml allows of each package that it names.
# And constraints-peers.txt: what the group `peers` needs, which the benchmarks install into an environment of its own.
# No address of an index and no path goes into them, so they hold wherever the packages come from.
set -eu
cd "$(dirname "$0")/.."
new=$(mktemp)
trap 'rm -f "$new"' EXIT
uv=$(command -v .venv/bin/uv || command -v uv)

lock() { # file, what stands in its first line, what is to be locked and how
    file=$1 title=$2
    shift 2
    "$uv" pip compile --universal --python-version 3.11 --upgrade --quiet "$@" \
        --no-header --no-annotate --no-emit-index-url --no-emit-find-links --output-file "$new" >/dev/null
    {
        echo "# $title, for every platform and Python from 3.11: written by \`make lock\`."
        cat "$new"
    } >"$file"
    echo "$file: $(grep -c == "$file") packages"
}

lock constraints.txt "One version of each package" pyproject.toml --all-extras
lock constraints-lowest.txt "The lowest version of each package that pyproject.toml names, one of each other" \
    pyproject.toml --all-extras --resolution lowest-direct
lock constraints-peers.txt "One version of each package that the peers in the benchmarks need" --group peers
