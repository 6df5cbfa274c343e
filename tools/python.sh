#!/bin/sh
# Prints the first python3 on PATH that is 3.11 or newer; says what to install if there is none.
for python in "${PYTHON:-python3}" python3 python3.13 python3.12 python3.11 python3.14; do
    if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        command -v "$python"
        exit 0
    fi
done
echo "tierlake needs Python 3.11 or newer, and found none on PATH (python3 is: $(python3 --version 2>&1 || echo missing))." >&2
echo "Install one (on Debian 12 or Ubuntu 24.04 and later: apt-get install python3 python3-venv), or name it: make PYTHON=/path/to/python3 ..." >&2
exit 1
