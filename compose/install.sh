#!/usr/bin/env bash
# Installs everything Python into .venv/, exactly what the lock says. Run by make.
set -euo pipefail
python=${PYTHON:-python3}
log=.venv/install.log

fail() {
    printf 'error: %s\n  way out: %s\n' "$1" "$2" >&2
    exit 3
}

quietly() { # pip is talkative; it is heard when it fails
    "$@" >>"$log" 2>&1 || {
        tail -n 15 "$log" >&2
        fail "'${*:1:5} …' failed" "read $log; is a package index reachable, and enough disk free?"
    }
}

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    fail "Python 3.11 or newer is needed; '$python' is older or missing" \
        "name another one: make PYTHON=python3.12"

began=$SECONDS
echo "installing Python packages into .venv (about 400 MB, once)"
[ -x .venv/bin/python ] || "$python" -m venv .venv ||
    fail "a virtual environment could not be made" "Debian: apt-get install python3-venv"
: >"$log"
if ! [ -x .venv/bin/uv ]; then
    # The one package that uv cannot bring: itself, by the hashes of the lock.
    sed -n '/^uv==/,/[^\\]$/p' requirements.lock >.venv/uv.lock
    quietly .venv/bin/python -m pip install --require-hashes --requirement .venv/uv.lock
fi
quietly .venv/bin/uv pip sync --require-hashes --python .venv/bin/python requirements.lock
quietly .venv/bin/uv pip install --no-deps --no-build-isolation --python .venv/bin/python --editable .
touch .venv/installed
echo "installed in $((SECONDS - began)) s"
