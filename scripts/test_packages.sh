#!/usr/bin/env bash
# The Debian packages that `make test` needs beside Python's: a browser with its driver, a tracer of system calls, other
# container engines, a registry and a tool that fills it.
set -euo pipefail

wanted=(chromium chromium-driver strace openssl podman buildah skopeo docker-registry zstd)
missing=()
for package in "${wanted[@]}"; do
    dpkg-query --show --showformat '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if [ "${#missing[@]}" = 0 ]; then
    exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "note: not installed, so tests that need them are skipped: ${missing[*]}" >&2
    echo "  hint: sudo apt-get install ${missing[*]}" >&2
    exit 0
fi
echo "tests: installing ${missing[*]}" >&2
apt-get -qq update
DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends "${missing[@]}" >/dev/null
