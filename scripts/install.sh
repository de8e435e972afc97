#!/usr/bin/env bash
# Install the release in this folder, or update to it: checked first, tried aside, switched to at once, and taken back if it
# does not come to serve. Needs root, systemd, a container engine, bash, coreutils and openssl 3.
# shellcheck disable=SC2329 # functions that `step` calls
set -euo pipefail
export LC_ALL=C
umask 022

usage() {
    cat <<'END'
usage: install.sh [OPTIONS] [FOLDER]
       install.sh --rollback

Check the bundle in FOLDER (where this script lies, unless given), then install it: the image into the container engine, the
release to /opt/wlk, settings to /etc/wlk/wlk.env unless they are there, and units, so that it serves after every boot. Where
an older release is installed, that one serves until the new one has proved itself, and stays for --rollback. Can be
repeated. An installed release checks the next one itself, so that no code from the stick decides whether the stick is good:
/opt/wlk/current/install.sh FOLDER

  --key FILE           the public key of who made the bundle (/etc/wlk/bundle-key.pem, where it is)
  --trust FINGERPRINT  take the key in the bundle, if this is its fingerprint: 64 digits, or the first 32 at least
  --allow-downgrade    also where a newer version is installed
  --quadlet            where the engine is Podman: make wlk.service by a Quadlet file, now and in later updates
  --dry-run            check, tell every step, and change nothing
  --rollback           return to the release before, from the installed one: /opt/wlk/current/install.sh --rollback
  -h, --help           show this

Status: 0 it serves; 1 it does not, and what served before serves on; 2 wrong usage.
END
}

here="$(dirname "$(readlink --canonicalize "$0")")"
bundle=""
trusted=()
accepted=()
dry=0
rollback=0
quadlet=0
while [ $# -gt 0 ]; do
    case "$1" in
        -h | --help) usage && exit 0 ;;
        --key | --trust)
            [ $# -ge 2 ] || { echo "error: $1 needs a value" >&2 && exit 2; }
            trusted=("$1" "$2")
            shift
            ;;
        --allow-downgrade) accepted+=("$1") ;;
        --quadlet) quadlet=1 ;;
        --dry-run) dry=1 ;;
        --rollback) rollback=1 ;;
        -*)
            printf 'error: unknown option: %s\n  hint: install.sh --help shows the options\n' "$1" >&2
            exit 2
            ;;
        *)
            [ -z "$bundle" ] || { printf 'error: one folder only: %s or %s?\n' "$bundle" "$1" >&2 && exit 2; }
            bundle="$1"
            ;;
    esac
    shift
done
[ "$(id -u)" = 0 ] || { printf 'error: this needs root\n  hint: sudo %s\n' "$0" >&2 && exit 1; }

bundle="$(readlink --canonicalize-missing "${bundle:-$here}")"
private="$(mktemp -d)"
trap 'rm -rf "$private"' EXIT
if [ "${trusted[0]:-}" = --key ] && [ -f "${trusted[1]}" ]; then
    cat "${trusted[1]}" >"$private/key" # the stick may change meanwhile
    trusted[1]="$private/key"
fi

# Before anything else of the bundle is used.
verified() { bash "$here/verify.sh" "${trusted[@]}" "$@"; }
[ "$rollback" = 1 ] || verified "${accepted[@]}" "$bundle"
# shellcheck source=scripts/site.sh
. "$here/site.sh"
# shellcheck source=scripts/install/host.sh
. "$here/install/host.sh"
# shellcheck source=scripts/install/output.sh
. "$here/install/output.sh"
[ ! -e "$QUADLETS/wlk.container" ] || quadlet=1

# ---- the steps; each can be repeated, and power may go at any moment

# What is in place already is left as it is; then nothing needs to be started again.
changed=0

# Write a file whole or not at all.
put() {
    rm -f "$2.wlk-new"
    cmp --silent "$1" "$2" && return
    changed=1
    cp "$1" "$2.wlk-new"
    chmod "$3" "$2.wlk-new"
    sync "$2.wlk-new"
    mv -T "$2.wlk-new" "$2"
}

point() {
    [ "$(readlink "$PREFIX/$1" || true)" != "$2" ] || return 0
    changed=1
    rm -f "$PREFIX/.$1.new"
    ln -s "$2" "$PREFIX/.$1.new"
    mv -T "$PREFIX/.$1.new" "$PREFIX/$1"
    sync "$PREFIX"
}

# Copy the bundle, and check the copy: from now on nothing is taken from the stick.
copy() {
    local release="$1" new="$PREFIX/releases/.new"
    mkdir -p "$PREFIX/releases"
    if [ -d "$release" ] && verified --allow-downgrade "$release" >/dev/null 2>&1; then return; fi
    rm -rf "$new"
    if ! cp --recursive --no-target-directory "$bundle" "$new"; then
        rm -rf "$new"
        die "the bundle can't be copied to $PREFIX" "is the disk full? df -h $PREFIX"
    fi
    chmod --recursive u=rwX,go=rX "$new"
    chmod a+x "$new"/*.sh
    # The same as before, and not another that is signed too.
    if [[ "$release" != *-"$(sha256sum "$new/CONTENTS" | head -c 12)" ]] || ! verified "${accepted[@]}" "$new" >/dev/null; then
        rm -rf "$new"
        die "the copy of the bundle is not what was checked" "is the stick, or this disk, failing?"
    fi
    sync --file-system "$new"
    rm -rf "$PREFIX/releases/.old"
    # One that is damaged may be what the box boots from: out of the way at the last moment, and not piece by piece.
    [ ! -e "$release" ] || mv -T "$release" "$PREFIX/releases/.old"
    mv -T "$new" "$release"
    sync "$PREFIX/releases"
    rm -rf "$PREFIX/releases/.old"
}

load() {
    "$1/service.sh" load && return
    tidy
    die "the image can't be loaded; ${2:-nothing} serves on" "the lines above tell why"
}

settings() {
    local release="$1" word
    mkdir -p "$CONFIG"
    if [ ! -e "$CONFIG/wlk.env" ]; then
        cp "$release/wlk.env" "$private/wlk.env"
        # An image for GPUs serves on them, or not at all; a Jetson's is handed in without being asked for.
        case "$(fact "$release" target)" in
            cpu | jetson-*) ;;
            *) sed --in-place 's/^WLK_GPUS=$/WLK_GPUS=all/' "$private/wlk.env" ;;
        esac
        [ "$quadlet" = 0 ] || sed --in-place "s/^WLK_MODEL=$/WLK_MODEL=$(fact "$release" models | cut -d ' ' -f 1)/" "$private/wlk.env"
        put "$private/wlk.env" "$CONFIG/wlk.env" 600
    fi
    if [ ! -e "$CONFIG/bundle-key.pem" ]; then
        word="$release/key.pem"
        [ "${trusted[0]:-}" != --key ] || word="${trusted[1]}"
        put "$word" "$CONFIG/bundle-key.pem" 644
    elif [ "${trusted[0]:-}" = --key ] && ! cmp --silent "${trusted[1]}" "$CONFIG/bundle-key.pem"; then
        echo "  (the key that is trusted from now on stays $CONFIG/bundle-key.pem; replace it to trust the one given)"
    fi
    mkdir -p "$STATE"
    chown "$OWNER" "$STATE"
    chmod 700 "$STATE"
}

units() {
    local unit before=""
    # What was put off on purpose stays off; before the first release serves, nothing was.
    [ ! -e "$PREFIX/current" ] || before="$(systemctl is-enabled wlk.service 2>/dev/null || true)"
    for unit in wlk-load.service wlk-cert.service wlk-cert.timer wlk@.service; do
        put "$1/systemd/$unit" "$UNITS/$unit" 644
    done
    for unit in wlk-load.service wlk@.service wlk.service; do
        if is_podman && [ "$unit $quadlet" != "wlk.service 1" ]; then
            mkdir -p "$UNITS/$unit.d"
            put "$1/systemd/podman.conf" "$UNITS/$unit.d/podman.conf" 644
        else
            rm -f "$UNITS/$unit.d/podman.conf"
        fi
    done
    if [ "$quadlet" = 1 ]; then
        mkdir -p "$QUADLETS"
        sed "s|^Image=.*|Image=$(image_of "$1")|" "$1/systemd/quadlet/wlk.container" >"$PREFIX/.wlk.container"
        put "$PREFIX/.wlk.container" "$QUADLETS/wlk.container" 644
        rm -f "$PREFIX/.wlk.container" "$UNITS/wlk.service" "$UNITS"/*.target.wants/wlk.service "$UNITS"/*.service.wants/wlk.service
        systemctl daemon-reload
    else
        put "$1/systemd/wlk.service" "$UNITS/wlk.service" 644
        systemctl daemon-reload
        [ "$before" = disabled ] || systemctl --quiet enable wlk.service
    fi
    systemctl --quiet enable wlk-load.service wlk-cert.timer
    systemctl start wlk-cert.timer
}

# Start wlk.service again, and the instances beside it that run; only the first decides whether a release serves.
restart() {
    local instance
    systemctl reset-failed wlk.service 2>/dev/null || true
    systemctl restart wlk.service || return 1
    rm -f "$PREFIX/.unproved"
    for instance in $(systemctl list-units --plain --no-legend --state=active 'wlk@*.service' | cut -d ' ' -f 1); do
        systemctl restart "$instance" || echo "warning: $instance does not serve: systemctl status $instance" >&2
    done
}

why_failed() {
    { systemctl --no-pager --lines 0 status wlk.service || true; } 2>/dev/null | sed -n 's/^ *Status: "\(.*\)"$/\1/p'
}

# Switch to a release, with its units; the one before becomes the previous.
switch() {
    local before
    before="$(readlink "$PREFIX/current" || true)"
    [ "$before" = "$1" ] || : >"$PREFIX/.unproved" # until it serves; whoever comes after a power cut starts it again
    units "$PREFIX/$1"
    if [ -n "$before" ] && [ "$before" != "$1" ]; then point previous "$before"; fi
    point current "$1"
}

# Releases that are neither, and their images.
tidy() {
    local folder image kept
    kept=" $(readlink "$PREFIX/current" || true) $(readlink "$PREFIX/previous" || true) "
    for folder in "$PREFIX"/releases/*; do
        if [[ "$kept" != *" releases/$(basename "$folder") "* ]]; then forget "$folder"; fi
    done
}

forget() {
    local image other
    image="$(image_of "$1" || true)"
    for other in current previous; do
        if [ -n "$image" ] && [ -e "$PREFIX/$other/CONTENTS" ] && [ "$image" = "$(image_of "$PREFIX/$other")" ]; then image=""; fi
    done
    [ -z "$image" ] || "$engine" image rm --force "$image" >/dev/null 2>&1 || true
    rm -rf "$1"
}

# What the person came for.
goodbye() {
    local address fingerprint scheme=https addresses always=""
    [ "${WLK_TLS:-true}" != false ] || scheme=http
    addresses="$(hostname) $(hostname -I 2>/dev/null || true)"
    [ "${WLK_LISTEN:-}" != 127.0.0.1 ] || addresses=127.0.0.1
    echo
    if systemctl --quiet is-enabled wlk.service 2>/dev/null; then always=" and after every boot"; fi
    echo "wlk $(fact "$PREFIX/current" version) serves, now$always:"
    for address in $addresses; do
        case "$address" in 172.17.* | 10.88.0.1) ;; *:*) ;; *) echo "  $scheme://$address:${WLK_PORT:-8000}/" ;; esac
    done
    if fingerprint="$("$PREFIX/current/wlk_cert.sh" --dir "$STATE" --fingerprint 2>/dev/null)"; then
        echo "The certificate of this device's CA (at /ca there) has the SHA-256 fingerprint"
        echo "  $fingerprint"
    fi
    echo "Settings: $CONFIG/wlk.env; state: systemctl status wlk; problems: $PREFIX/current/doctor.sh"
}

alone() {
    mkdir -p "$PREFIX"
    exec 9>>"$PREFIX/.lock"
    flock --nonblock 9 || die "another installation is going on" "wait for its end"
}

install() {
    local name release before previous why
    name="releases/$(fact "$bundle" version)-$(sha256sum "$bundle/CONTENTS" | head -c 12)"
    release="$PREFIX/$name"
    check_host "$release"
    [ "$dry" = 1 ] || alone
    before="$(readlink "$PREFIX/current" || true)"
    previous="$(readlink "$PREFIX/previous" || true)"
    [ "$dry" = 0 ] || echo "It would:"
    step "copy the release to $release and check the copy" copy "$release"
    step "keep $CONFIG/wlk.env, or write it if there is none; state in $STATE" settings "$release"
    step "hand the image to $engine" load "$release" "$before"
    step "try the image aside: start it without a network, stream a recording through it, compare the text" try "$release" "$before"
    step "install the units into $UNITS, and switch from ${before:-nothing} to $name" switch "$name"
    echo "- make the certificate if that is due, start wlk, and wait until it serves"
    [ "$dry" = 0 ] || exit 0
    if [ "$changed" = 0 ] && [ ! -e "$PREFIX/.unproved" ] && systemctl --quiet is-active wlk; then
        echo "  (nothing has changed, and it serves)"
    elif ! restart; then
        why="$(why_failed)"
        if [ -n "$before" ] && [ "$before" != "$name" ]; then
            echo "error: the new release does not serve: ${why:-journalctl -u wlk}" >&2
            echo "- return to $before" >&2
            switch "$before"
            if [ -n "$previous" ] && [ -d "$PREFIX/$previous" ]; then point previous "$previous"; else rm -f "$PREFIX/previous"; fi
            restart || echo "error: $before does not serve either" >&2
            tidy
            die "the update was taken back" "settings: $CONFIG/wlk.env; log: journalctl -u wlk"
        fi
        die "installed, but it does not serve: ${why:-journalctl -u wlk}" "mend that, then: systemctl restart wlk"
    fi
    tidy
    goodbye
}

try() {
    local serving="nothing was switched on"
    "$1/service.sh" try && return
    [ -z "$2" ] || serving="$2 serves on"
    tidy
    die "the new image has failed its trial; $serving" "the lines above tell why: mend $CONFIG/wlk.env, or ask for another bundle"
}

return_to_previous() {
    local before previous why
    need_engine
    previous="$(readlink "$PREFIX/previous" || true)"
    before="$(readlink "$PREFIX/current" || true)"
    if [ -z "$previous" ] || [ "$previous" = "$before" ] || [ ! -d "$PREFIX/$previous" ]; then
        die "there is no release before to return to" "$PREFIX/previous names it after an update"
    fi
    [ "$dry" = 1 ] || alone
    step "see that the image of $previous is loaded" "$PREFIX/$previous/service.sh" load
    step "switch from $before to $previous, with its units" switch "$previous"
    echo "- start wlk, and wait until it serves"
    [ "$dry" = 0 ] || exit 0
    if ! restart; then
        why="$(why_failed)"
        switch "$before"
        restart || true
        die "$previous does not serve: ${why:-journalctl -u wlk}" "$before is in place again"
    fi
    echo "wlk $(fact "$PREFIX/current" version) serves again; install.sh --rollback once more returns to $(fact "$PREFIX/previous" version)"
}

# Read whole before anything is done: the folder that this lies in may be removed meanwhile.
main() {
    outlive_terminal # whoever started it may be cut off meanwhile
    if [ "$rollback" = 1 ]; then return_to_previous; else install; fi
    exit
}
main
