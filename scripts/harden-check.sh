#!/usr/bin/env bash
# Look at a running appliance as somebody outside of it does: is it as closed as it should be? Changes nothing. Needs bash,
# coreutils, sed, grep; openssl, curl or wget, the engine and systemd are asked where they are.
# shellcheck disable=SC2034,SC2154
set -uo pipefail # not -e: no check may end those after it
export LC_ALL=C

usage() {
    cat <<'END'
usage: harden-check.sh [OPTIONS]

Look at the appliance that runs here: what it speaks, what its page is sent with, who may come in, what the kernel lets its
container do, who may read its files, how its units are closed in. docs/security.md says what each row stands for.

  --url URL         where it serves (https://127.0.0.1:WLK_PORT); on another machine, only this and nothing else is looked at
  --instance NAME   that of wlk@NAME.service
  --container NAME  one that run_wlk.sh started by hand: wlk
  -h, --help        show this

Each row is ok, warn (your own decision) or FAIL (a promise that is not kept). What can't be looked at is a warn.
Status: 0 no FAIL; 1 a FAIL; 2 wrong usage.
END
}

here="$(dirname "$(readlink --canonicalize "${BASH_SOURCE[0]}")")"
# shellcheck source=scripts/site.sh
. "$here/site.sh"
MOST_SHOWN=300
# shellcheck source=scripts/doctor/findings.sh
. "$here/doctor/findings.sh"
# shellcheck source=scripts/doctor/asking.sh
. "$here/doctor/asking.sh"
# shellcheck source=scripts/harden/outside.sh
. "$here/harden/outside.sh"
# shellcheck source=scripts/harden/container.sh
. "$here/harden/container.sh"
# shellcheck source=scripts/harden/machine.sh
. "$here/harden/machine.sh"

url=""
instance=""
container=""
by_hand=0
while [ $# -gt 0 ]; do
    case "$1" in
        -h | --help) usage && exit 0 ;;
        --url) value_of "$1" $# && url="${2%/}" && shift ;;
        --instance) value_of "$1" $# && instance="$2" && shift ;;
        --container) value_of "$1" $# && container="$2" && by_hand=1 && shift ;;
        *) misused "unknown option: $1" ;;
    esac
    shift
done
case "$instance$container" in *[!A-Za-z0-9_.-]*) misused "not a name: $instance$container" ;; esac
address='^https?://[][A-Za-z0-9.:_-]+$'
[[ -z "$url" || "$url" =~ $address ]] || misused "not an address: $url"

only_url=0
[ -z "$url" ] || [ -n "$instance$container" ] || only_url=1
[ -n "$container" ] || container="$(container_of "$instance")"

scheme_of_settings() { case "${WLK_TLS:-true}" in false | 0 | no | off) echo http ;; *) echo https ;; esac }

main() {
    local number severity said
    trap 'exit 130' INT
    find_secrets
    if [ "$only_url" = 0 ] && [ "$(id -u)" != 0 ]; then
        warning root "not run as root: files and processes of others are not looked at" "sudo $0"
    fi
    if [ -z "$url" ] && [ "$by_hand" = 0 ]; then
        if said="$( (read_settings "$instance") 2>&1)"; then
            read_settings "$instance"
        else
            said="${said%%$'\n'*}"
            warning settings "not read: ${said#error: }" "mend them, or say --url"
        fi
    fi
    [ -n "$url" ] || url="$(scheme_of_settings)://127.0.0.1:${WLK_PORT:-8000}"
    check_tls
    check_headers
    check_guests
    if [ "$only_url" = 0 ]; then
        check_container
        check_files
        check_processes
        [ "$by_hand" = 1 ] || check_units
    fi
    for number in "${!checks[@]}"; do
        case "${severities[number]}" in error) severity=FAIL ;; warning) severity=warn ;; *) severity=ok ;; esac
        printf '%-5s %-28s %s\n' "$severity" "${checks[number]}" "${seens[number]}"
        [ -z "${remedies[number]}" ] || printf '%-5s %-28s -> %s\n' "" "" "${remedies[number]}"
    done
    printf '\n%s FAIL, %s warn, %s ok: %s\n' "$(count error)" "$(count warning)" "$(count ok)" "$url"
    [ "$(count error)" = 0 ]
}
if [ "${BASH_SOURCE[0]}" = "$0" ]; then main; fi # sourced by tests
