#!/usr/bin/env bash
# How the scripts of a bundle and of an installed appliance tell what is wrong. Sourced by signed.sh and site.sh; run_wlk.sh and
# wlk_cert.sh have their own, for each of them is one file that stands alone.

complain() {
    echo "error: $1" >&2
    [ -z "${2:-}" ] || echo "  hint: $2" >&2
}

die() {
    complain "$@"
    exit 1
}

misused() {
    complain "$1" "$(basename "$0") --help shows the options"
    exit 2
}

# The word after an option, or a clear error.
value_of() {
    [ "$2" -ge 2 ] || misused "$1 needs a value"
}
