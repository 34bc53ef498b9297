#!/usr/bin/env bash
# Runs a test script with the Python that has the reference libraries (EVENHAND_PYTHON, or the virtual environment that
# tests/run.sh makes), or skips it in words.
set -euo pipefail
python=${EVENHAND_PYTHON:-${XDG_CACHE_HOME:-$HOME/.cache}/evenhand/venv/bin/python}
[ -x "$python" ] || { echo "SKIPPED TEST: no reference Python at $python: tests/run.sh makes it"; exit 0; }
exec "$python" "$@"
