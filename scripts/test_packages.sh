#!/usr/bin/env bash
# The Debian packages that `make test` needs beside Python's: a browser with its driver and another that needs none, a
# tracer of system calls, other container engines, a registry and a tool that fills it, the proxies of deploy/, and what
# makes and boots a box.
set -euo pipefail

wanted=(chromium chromium-driver firefox-esr strace openssl podman buildah skopeo docker-registry zstd nginx haproxy)
wanted+=(debootstrap)
# An engine from elsewhere brings a runc of its own, and Debian's would drive it out.
command -v runc >/dev/null || wanted+=(runc)
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
# The tests run proxies of their own; none is to be this machine's, neither now nor after its next start.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
apt-get -qq update
DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends "${missing[@]}" >/dev/null
for package in "${missing[@]}"; do
    case "$package" in nginx | haproxy | docker-registry) systemctl --quiet disable "$package" 2>/dev/null || true ;; esac
done
