#!/usr/bin/env bash
# Make .venv with everything the build, the tests and the server need, at the locked versions.
# Usage: scripts/setup.sh            (WLK_TORCH_INDEX=ADDRESS names an index that has the CPU build of torch)
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="${PATH//"$PWD/.venv/bin:"/}" # the environment can't be made by its own Python

lock=requirements-dev.lock
torch_index="${WLK_TORCH_INDEX:-https://download.pytorch.org/whl/cpu}"

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
pip=(.venv/bin/python -m pip --quiet --disable-pip-version-check install --no-deps)

# torch apart from the rest: only its CPU build is wanted, and pip's configured places may or may not have it.
torch_lock="$(mktemp)"
said="$(mktemp)"
trap 'rm -f "$torch_lock" "$said"' EXIT
awk '/^torch==/ {on = 1} on {print} on && !/\\$/ {exit}' "$lock" >"$torch_lock"
if [ -n "${WLK_TORCH_INDEX:-}" ]; then
    "${pip[@]}" --require-hashes --extra-index-url "$torch_index" --requirement "$torch_lock"
elif ! "${pip[@]}" --require-hashes --requirement "$torch_lock" 2>"$said"; then
    # Ask whether PyTorch's own index answers before leaning on it, so that a silent network costs seconds only.
    if ! timeout 6 .venv/bin/python -c 'import sys, urllib.request as r; r.urlopen(sys.argv[1], timeout=3)' \
        "$torch_index/torch/" 2>/dev/null; then
        cat "$said" >&2
        die "the CPU build of torch is in none of pip's configured places, and $torch_index does not answer" \
            "put the wheel into a folder and set PIP_FIND_LINKS=FOLDER, or set WLK_TORCH_INDEX=ADDRESS"
    fi
    "${pip[@]}" --require-hashes --extra-index-url "$torch_index" --requirement "$torch_lock"
fi
# pip warns about every folder of a file: index that lacks a package; its errors remain.
"${pip[@]}" --quiet --require-hashes --requirement "$lock"
"${pip[@]}" --no-build-isolation --editable .
printf '%s\n' "$wanted" >"$stamp"
