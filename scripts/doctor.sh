#!/usr/bin/env bash
# Look at an installed appliance, and tell what is wrong and what to do about it. Changes nothing. Needs bash, coreutils,
# sed, grep and openssl 3; systemd, the engine, ss and nvidia-smi are asked where they are.
set -uo pipefail # not -e: no check may end those after it
export LC_ALL=C

usage() {
    cat <<'END'
usage: doctor.sh [OPTIONS]

Look at the appliance that is installed here: what was seen, how bad it is, and what to type about it.

  --json                 one JSON object: {"worst": ..., "findings": [{"check", "severity", "seen", "remedy"}, ...]}
  --deep                 also read every file of the release and of the models, and compare: minutes
  --support-bundle FILE  pack findings, versions, settings and logs into FILE (.tar.gz), without secrets or transcripts
  -h, --help             show this

Severities: ok, note (worth knowing), warning (will be trouble), error (is trouble).
Status: 0 nothing worse than a note; 1 a warning; 2 an error; 3 the support bundle can't be written; 64 wrong usage.
END
}

here="$(dirname "$(readlink --canonicalize "${BASH_SOURCE[0]}")")"
# shellcheck source=scripts/site.sh
. "$here/site.sh"

# Unlike in the other scripts, for 2 is taken.
misused() {
    complain "$1" "${2:-doctor.sh --help shows the options}"
    exit 64
}

json=0
deep=0
bundle=""
while [ $# -gt 0 ]; do
    case "$1" in
        -h | --help) usage && exit 0 ;;
        --json) json=1 ;;
        --deep) deep=1 ;;
        --support-bundle) value_of "$1" $# && bundle="$2" && shift ;;
        *) misused "unknown option: $1" ;;
    esac
    shift
done
if [ -n "$bundle" ]; then
    [ -d "$(dirname "$bundle")" ] || misused "no folder $(dirname "$bundle")" "name a file in a folder that is there"
    if [ -e "$bundle" ] || [ -L "$bundle" ]; then misused "$bundle is there already" "name another file"; fi
fi

# Let go of all settings, but for where things are.
forget_settings() {
    local name
    while IFS= read -r name; do
        case "$name" in WLK_PREFIX | WLK_CONFIG | WLK_STATE | WLK_UNITS | WLK_ENGINE | WLK_TEGRA_RELEASE) ;; *) unset "$name" ;; esac
    done < <(compgen -e WLK_)
}
forget_settings # of this shell: the service does not see them

MB=1000000
DAY=86400
MOST_SHOWN=600

# shellcheck source=scripts/doctor/findings.sh
. "$here/doctor/findings.sh"
# shellcheck source=scripts/doctor/asking.sh
. "$here/doctor/asking.sh"
# shellcheck source=scripts/doctor/machine.sh
. "$here/doctor/machine.sh"
# shellcheck source=scripts/doctor/release.sh
. "$here/doctor/release.sh"
# shellcheck source=scripts/doctor/state.sh
. "$here/doctor/state.sh"
# shellcheck source=scripts/doctor/units.sh
. "$here/doctor/units.sh"
# shellcheck source=scripts/doctor/instance.sh
. "$here/doctor/instance.sh"
# shellcheck source=scripts/doctor/support.sh
. "$here/doctor/support.sh"

examine() {
    local name
    find_secrets
    load_quietly
    check_user
    check_programs
    check_release
    check_engine
    if [ -n "$release" ]; then
        check_architecture
        check_image
    fi
    check_disks
    check_clock
    if [ -z "$release" ] && [ ! -e "$STATE" ]; then return; fi # nothing was ever installed
    check_state
    check_certificate
    forget_settings
    check_units
    check_tokens
    instances="$(instances)"
    check_instance ""
    for name in $instances; do check_instance "$name"; done
}

# The settings of wlk.service, where there is nothing wrong with them; what is, is told later.
load_quietly() { ! (read_settings) >/dev/null 2>&1 || read_settings; }

main() {
    trap 'exit 130' INT
    examine
    if [ $json = 1 ]; then print_json; else print_text; fi
    if [ -n "$bundle" ]; then
        pack "$bundle" || exit 3
    fi
    case "$(worst)" in error) exit 2 ;; warning) exit 1 ;; *) exit 0 ;; esac
}
if [ "${BASH_SOURCE[0]}" = "$0" ]; then main; fi # sourced by tests, which look at single checks
