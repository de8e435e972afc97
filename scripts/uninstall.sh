#!/usr/bin/env bash
# Take the appliance off this machine.
# shellcheck disable=SC2329 # functions that `step` calls
set -euo pipefail
export LC_ALL=C

usage() {
    cat <<'END'
usage: uninstall.sh [OPTIONS]

Stop the appliance and remove its units, releases and images. Settings (/etc/wlk) and what the device made for itself
(/var/lib/wlk: its CA, which browsers may trust) stay, unless told otherwise.

  --purge    remove these too
  --dry-run  tell what would go, and change nothing
  -h, --help show this
END
}

# shellcheck source=scripts/site.sh
. "$(dirname "$(readlink --canonicalize "$0")")/site.sh"

purge=0
dry=0
while [ $# -gt 0 ]; do
    case "$1" in
        -h | --help) usage && exit 0 ;;
        --purge) purge=1 ;;
        --dry-run) dry=1 ;;
        *) misused "unknown option: $1" ;;
    esac
    shift
done
[ "$(id -u)" = 0 ] || die "this needs root" "sudo $0"

stop_units() {
    local unit
    for unit in wlk.service wlk-cert.timer wlk-cert.service wlk-load.service \
        $(systemctl list-units --all --plain --no-legend 'wlk@*.service' | cut -d ' ' -f 1) \
        $(systemctl list-unit-files --no-legend 'wlk@?*.service' | cut -d ' ' -f 1); do
        systemctl --quiet stop "$unit" 2>/dev/null || true
        systemctl --quiet disable "$unit" 2>/dev/null || true # fails where Quadlet made it
        systemctl reset-failed "$unit" 2>/dev/null || true
    done
}

remove_units() {
    rm -f "$UNITS"/wlk.service "$UNITS"/wlk@.service "$UNITS"/wlk-load.service "$UNITS"/wlk-cert.service "$UNITS"/wlk-cert.timer
    rm -f "$UNITS"/wlk{,@,-load}.service.d/podman.conf "$QUADLETS"/wlk.container
    systemctl daemon-reload
}

# Folders with what the site added to the units.
drop_ins() {
    local folder
    for folder in "$UNITS"/wlk{,@*,-load,-cert}.{service,timer}.d "$QUADLETS"/wlk.container.d; do
        [ ! -d "$folder" ] || rmdir "$folder" 2>/dev/null || echo "$folder"
    done
}

# It may be a link, or a disk of its own.
remove_releases() {
    rm -rf "$PREFIX"/releases "$PREFIX"/{current,previous,.lock,.unproved,.current.new,.previous.new,.wlk.container}
    rmdir "$PREFIX" 2>/dev/null || rm -f "$PREFIX" 2>/dev/null || echo "kept: $PREFIX itself, which is empty or a link"
}

remove_kept() {
    local folder
    for folder in "$CONFIG" "$STATE"; do
        [ -d "$folder" ] || continue
        find "$folder/" -mindepth 1 -delete # it may be a link, or a disk of its own
        rmdir "$folder" 2>/dev/null || rm -f "$folder" 2>/dev/null || echo "kept: $folder itself, which is empty"
    done
    for folder in $(drop_ins); do rm -rf "$folder"; done
}

remove_images() {
    local folder image
    if ! find_engine; then
        echo "note: no container engine answers, so images stay: docker image rm" >&2
        return
    fi
    for folder in "$PREFIX"/releases/*; do
        [ -f "$folder/CONTENTS" ] || continue
        image="$(image_of "$folder")"
        [ -z "$image" ] || "$engine" image rm --force "$image" >/dev/null || true
    done
}

# Read whole before anything is done: the folder that this lies in goes too.
main() {
    local mine=""
    step "stop wlk, its instances and its timer, and remove their units from $UNITS" stop_units
    step "remove the images from the engine" remove_images
    [ "$dry" = 1 ] || remove_units
    step "remove $PREFIX" remove_releases
    if [ "$purge" = 1 ]; then
        step "remove $CONFIG, $STATE and the site's additions to the units" remove_kept
    else
        [ "$dry" = 1 ] || mine="$(drop_ins | tr '\n' ' ')"
        echo "kept: $CONFIG (settings) and $STATE (the device's CA and certificate; the journal, if there is one)${mine:+ and $mine(additions to the units)}; --purge removes them"
    fi
    exit
}
main
