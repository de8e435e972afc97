#!/usr/bin/env bash
# Make .venv from the hash-locked requirements; a second run is instant. With `test`, also what the tests drive.
# Usage: scripts/setup.sh [test]
set -euo pipefail
cd "$(dirname "$0")/.."

die() {
    echo "error: $1" >&2
    echo "  hint: $2" >&2
    exit 1
}

# apt_install WHY PACKAGE...: install Debian packages where we may, else say what to type.
apt_install() {
    local why="$1"
    shift
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        die "$* needed $why" "as root: apt-get install -y $*"
    fi
    echo "setup: installing $* from Debian's packages, $why" >&2
    export DEBIAN_FRONTEND=noninteractive
    if ! { apt-get update && apt-get install -y --no-install-recommends "$@"; } >"$log" 2>&1; then
        tail -n 15 "$log" >&2
        die "apt-get could not install $*" "see above; then run this again"
    fi
}

find_python() {
    local candidate
    for candidate in ${WLK_PYTHON:-} python3.11 python3 /usr/bin/python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    die "no Python 3.11 found: the locked wheels are for that version" \
        "install it (Debian 12: apt-get install -y python3), or set WLK_PYTHON=/path/to/python3.11"
}

make_venv() {
    local python="$1"
    if ! "$python" -c 'import ensurepip' 2>/dev/null; then
        apt_install "to make a virtual environment" python3-venv
    fi
    echo "setup: making .venv with $("$python" --version)" >&2
    rm -rf .venv
    "$python" -m venv .venv
    # The image's wheels come first, in the folder the image is built from, so that nothing is downloaded twice.
    .venv/bin/python -m appliance wheels --target cpu
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --find-links build/wheelhouse/cpu \
        --requirement requirements-dev.lock
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index --editable .
}

mkdir -p build
log=build/setup-apt.log
wanted="$(cat requirements-dev.lock images/*/requirements.lock images/*/pip.lock pyproject.toml | sha256sum)"
if [ "$(cat .venv/wlk-setup.stamp 2>/dev/null)" != "$wanted" ] || ! .venv/bin/wlk-appliance --version >/dev/null 2>&1; then
    make_venv "$(find_python)"
    echo "$wanted" >.venv/wlk-setup.stamp
fi

if [ "${1:-}" = test ]; then
    missing=()
    for pair in chromium:chromium chromedriver:chromium-driver strace:strace; do
        command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
    done
    if [ "${#missing[@]}" -gt 0 ]; then
        apt_install "for the browser tests and the test that no connection is tried" "${missing[@]}"
    fi
fi
