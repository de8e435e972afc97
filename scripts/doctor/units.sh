#!/usr/bin/env bash
# Checks of the units but for those that serve, and which instances there are. Sourced by doctor.sh.
# shellcheck disable=SC2034,SC2154

declare -A unit=()
read_unit() {
    local name value
    unit=()
    while IFS='=' read -r name value; do
        [ -z "$name" ] || unit["$name"]="$value"
    done < <(bounded systemctl show "$1" --property=LoadState,ActiveState,SubState,UnitFileState,NRestarts,Result,ExecMainStatus,StatusText,NeedDaemonReload 2>/dev/null)
    [ -n "${unit[LoadState]:-}" ]
}

systemd=1
check_units() {
    if ! read_unit wlk-load.service; then
        systemd=0
        warning systemd "systemd does not answer: whether the service is running can't be asked" "systemctl status"
        return
    fi
    check_helper wlk-load.service "the image can't be loaded"
    check_helper wlk-cert.service "the certificate can't be made or renewed"
    read_unit wlk-cert.timer
    if [ "${unit[LoadState]:-}" != loaded ]; then
        error renewal "wlk-cert.timer is not installed" "install the bundle again: install.sh in its folder"
    elif [ "${unit[ActiveState]:-}" = active ]; then
        ok renewal "the certificate is looked at by wlk-cert.timer"
    else
        warning renewal "wlk-cert.timer is ${unit[ActiveState]:-unknown}: nobody looks at the certificate" "systemctl enable --now wlk-cert.timer"
    fi
}

check_helper() {
    read_unit "$1"
    if [ "${unit[LoadState]:-}" != loaded ]; then
        error "${1%.service}" "$1 is ${unit[LoadState]:-unknown}" "install the bundle again: install.sh in its folder"
    elif [ "${unit[ActiveState]:-}" = failed ]; then
        error "${1%.service}" "failed: $2" "journalctl -u $1 -n 30; systemctl restart $1"
    fi
}

# Names of the instances of wlk@.service: with settings, enabled, or running.
instances() {
    local file
    {
        for file in "$CONFIG"/*.env "$UNITS"/*.wants/wlk@*.service; do
            [ -e "$file" ] || [ -L "$file" ] || continue
            file="$(basename "$file")"
            file="${file#wlk@}" file="${file%.service}"
            echo "${file%.env}"
        done
        bounded systemctl list-units --all --plain --no-legend 'wlk@*.service' 2>/dev/null | sed -n 's/^wlk@\(.*\)\.service .*/\1/p'
    } | grep --extended-regexp '^[A-Za-z0-9_][A-Za-z0-9_.-]*$' | grep --invert-match --line-regexp wlk | sort --unique
}
