#!/usr/bin/env bash
# Make .venv with everything the build, the tests and the server need, at the locked versions.
# Usage: scripts/setup.sh
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="${PATH//"$PWD/.venv/bin:"/}" # the environment can't be made by its own Python

lock=requirements-dev.lock

die() {
    echo "error: $1" >&2
    echo "  hint: $2" >&2
    exit 1
}

# The locks hold wheels of this one version of Python; it is Debian 12's own.
find_python() {
    local candidate
    for candidate in "${WLK_PYTHON:-}" python3.11 python3 /usr/bin/python3; do
        if [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    die "no Python 3.11 found" "apt-get install python3.11 python3.11-venv, or name one: WLK_PYTHON=/path/to/python3.11"
}

stamp=.venv/.lock.sha256
wanted="$(cat "$lock" pyproject.toml scripts/setup.sh | sha256sum)"
if [ -x .venv/bin/wlk-appliance ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
    exit 0
fi

python="$(find_python)"
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "setup: installing python3-venv" >&2
        apt-get -qq update
        DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends python3-venv >/dev/null
    else
        die "$python has no venv module" "sudo apt-get install python3-venv"
    fi
fi

echo "setup: making .venv with $("$python" --version)" >&2
rm -f "$stamp"
"$python" -m venv --clear .venv
# The image's wheels come first, into the folder the image is built from: nothing is downloaded twice, and where the
# CPU build of torch comes from is decided in one place. `pip` warns about every folder of a file: index that lacks a
# package, so it is told to print errors only.
wheels="$(.venv/bin/python -m appliance wheels)"
pip=(.venv/bin/python -m pip --quiet --quiet --disable-pip-version-check install --no-deps)
"${pip[@]}" --require-hashes --find-links "$wheels" --requirement "$lock"
"${pip[@]}" --no-build-isolation --editable .
printf '%s\n' "$wanted" >"$stamp"
