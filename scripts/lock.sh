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

scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
pins="$scratch/pins.txt"

# On arm64 torch is another version, and pip-compile resolves for this machine only: its lines come after. It is the last
# whose wheel for arm64 on the Python index is for the CPU.
torch_for_arm64() {
    local version file
    version="$(sed -nE "s/.*\"torch==([0-9.]+); platform_machine == 'aarch64'\".*/\1/p" pyproject.toml)"
    "$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.11 \
        --platform manylinux_2_28_aarch64 --dest "$scratch" "torch==$version"
    file="$(echo "$scratch"/torch-*.whl)"
    printf 'torch==%s ; platform_machine == "aarch64" \\\n    --hash=sha256:%s\n' "$version" "$(sha256sum "$file" | cut -d' ' -f1)"
}

compile "$@" --output-file images/cpu/requirements.lock pyproject.toml
arm64="$(torch_for_arm64)"
echo "$arm64" >>images/cpu/requirements.lock
echo pip | compile "$@" --output-file images/cpu/pip.lock -

# The development environment holds the image's versions exactly, plus the tools.
sed -nE 's/^([A-Za-z0-9_.-]+==[^ ]+).*/\1/p' images/cpu/requirements.lock | grep -v '^torch==' >"$pins"
compile "$@" --extra build --extra test --constraint "$pins" \
    --output-file requirements-dev.lock pyproject.toml requirements-dev.in
echo "$arm64" >>requirements-dev.lock

# The CUDA build of torch is the one on the index, whatever folder offers one for the CPU; all else is as on the CPU.
PIP_FIND_LINKS="$scratch" compile "$@" --constraint "$pins" \
    --output-file images/x86-cuda/requirements.lock pyproject.toml images/x86-cuda/requirements.in
cp images/cpu/pip.lock images/x86-cuda/pip.lock
# With NeMo some versions are older; all that it leaves free is as without it.
sed -nE 's/^([A-Za-z0-9_.-]+==[^ ]+).*/\1/p' images/x86-cuda/requirements.lock | grep -vE '^(fsspec|packaging)==' >"$pins"
PIP_FIND_LINKS="$scratch" compile "$@" --constraint "$pins" --output-file images/x86-cuda/requirements-sortformer.lock \
    pyproject.toml images/x86-cuda/requirements.in images/x86-cuda/requirements-sortformer.in

# What NVIDIA's image holds, or what is compiled for it, is not installed again; all else is as on the CPU.
awk 'NR == FNR { own[$1] = 1; next } /^#/ { next } /^[A-Za-z0-9]/ { split($1, part, "=="); kept = !(part[1] in own) } kept && NF' \
    images/jetson-thor/from_base.txt images/cpu/requirements.lock >images/jetson-thor/requirements.lock
# shellcheck source=images/jetson-thor/versions.env
. images/jetson-thor/versions.env
echo "pybind11==$PYBIND11_VERSION" | compile --output-file images/jetson-thor/build.lock -
