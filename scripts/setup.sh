#!/bin/sh
# setup.sh: make .venv from the hashed locks, from nothing but a Python (3.11 or newer) with its venv module.
set -eu
python=${PYTHON:-python3}
env=.venv

die() {
    echo "setup: $1" >&2
    exit 1
}

command -v "$python" >/dev/null || die "no '$python' on this machine: apt install python3 python3-venv, or PYTHON=…"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    die "'$python' is $("$python" -V 2>&1), and 3.11 or newer is needed: PYTHON=python3.12 make setup"
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    die "'$python' lacks its venv module: apt install python3-venv (on Debian and Ubuntu), then again"

# An environment that does not start, such as one whose Python is gone, is not mended but made anew.
if ! "$env/bin/python" -c 'import os, sys; sys.exit(os.path.realpath(sys.prefix) != os.path.realpath(sys.argv[1]))' "$env" 2>/dev/null; then
    scripts/step.sh "an empty environment in $env ($("$python" -V 2>&1))" "$python" -m venv --clear "$env"
fi
scripts/step.sh "uv and the build backends, by pip and by hash" \
    "$env/bin/python" -m pip --disable-pip-version-check install --quiet --require-hashes -r requirements/build.txt
# Compiled now: where Python may not write bytecode, every process would compile scikit-learn anew, which takes seconds.
scripts/step.sh "the locked packages, by uv and by hash, compiled" \
    "$env/bin/uv" pip sync --quiet --compile-bytecode --python "$env/bin/python" --require-hashes --no-build-isolation requirements/dev.txt
scripts/step.sh "batchscore itself, editable" \
    "$env/bin/uv" pip install --quiet --python "$env/bin/python" --no-deps --no-build-isolation --editable .
