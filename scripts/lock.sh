#!/usr/bin/env bash
# Regenerate the hash-locked requirements from pyproject.toml with pip-compile, for Linux and the Python that runs it.
# Run it with the oldest Python meant to install them, Debian 12's own 3.11.2: WLK_PYTHON=VENV/bin/python of such a one.
# Usage: scripts/lock.sh [--upgrade]
set -euo pipefail
cd "$(dirname "$0")/.."

python="${WLK_PYTHON:-.venv/bin/python}"
if ! "$python" -m piptools --help >/dev/null 2>&1; then
    echo "error: $python has no pip-tools" >&2
    echo "  hint: make setup, or WLK_PYTHON=/path/to/python with pip-tools" >&2
    exit 1
fi
# Two rules hold for every lock: each file is pinned by hash, and no index address is written down.
compile() {
    "$python" -m piptools compile --quiet --strip-extras --generate-hashes --allow-unsafe --resolver=backtracking \
        --no-header --no-annotate --no-emit-index-url --no-emit-trusted-host --no-emit-find-links "$@"
}

compile "$@" --output-file images/cpu/requirements.lock pyproject.toml
echo pip | compile "$@" --output-file images/cpu/pip.lock -

# The development environment holds the image's versions exactly, plus the tools.
pins="$(mktemp)"
trap 'rm -f "$pins"' EXIT
sed -nE 's/^([A-Za-z0-9_.-]+==[^ ]+).*/\1/p' images/cpu/requirements.lock >"$pins"
compile "$@" --extra build --extra test --constraint "$pins" \
    --output-file requirements-dev.lock pyproject.toml requirements-dev.in
