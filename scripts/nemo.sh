#!/usr/bin/env bash
# Put NeMo under build/nemo, for the tests of its diarizer: what these load of it, at the versions of the image's lock.
# torch and all else that .venv holds are taken from there.
# Usage: scripts/nemo.sh
set -euo pipefail
cd "$(dirname "$0")/.."

lock=images/x86-cuda/requirements-sortformer.lock names=tests/nemo.txt folder=build/nemo
wanted="$(cat "$lock" "$names" scripts/nemo.sh | sha256sum)"
if [ "$(cat "$folder/.lock.sha256" 2>/dev/null)" = "$wanted" ]; then
    exit 0
fi

echo "tests: getting NeMo" >&2
mkdir -p build
rm -rf "$folder"
chosen="$(mktemp)"
trap 'rm -f "$chosen"' EXIT
# A package's lines: its name and version, then hashes, indented.
awk 'NR == FNR { named[$1] = 1; next } /^[A-Za-z0-9]/ { split($1, part, "=="); kept = part[1] in named } kept' \
    "$names" "$lock" >"$chosen"
.venv/bin/python -m pip --quiet --quiet --disable-pip-version-check install --no-deps --require-hashes --no-build-isolation --no-compile \
    --target "$folder" --requirement "$chosen"
printf '%s\n' "$wanted" >"$folder/.lock.sha256"
