#!/usr/bin/env bash
# Install the release in this folder, or update to it: checked first, tried aside, switched to at once, and taken back if it
# does not come to serve. Needs root, systemd, a container engine, bash, coreutils and openssl 3.
# shellcheck disable=SC2329 # functions that `step` calls
set -euo pipefail
export LC_ALL=C

usage() {
    cat <<'END'
usage: install.sh [OPTIONS]
       install.sh --rollback

Check the bundle in this folder, then install it: the image into the container engine, the release to /opt/wlk, settings to
/etc/wlk/wlk.env unless they are there, and units, so that it serves after every boot. Where an older release is installed,
that one serves until the new one has proved itself, and stays for --rollback. Can be repeated.

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
            trusted+=("$1" "$2")
            shift
            ;;
        --allow-downgrade) accepted+=("$1") ;;
        --quadlet) quadlet=1 ;;
        --dry-run) dry=1 ;;
        --rollback) rollback=1 ;;
        *)
            printf 'error: unknown option: %s\n  hint: install.sh --help shows the options\n' "$1" >&2
            exit 2
            ;;
    esac
    shift
done
[ "$(id -u)" = 0 ] || { printf 'error: this needs root\n  hint: sudo %s\n' "$0" >&2 && exit 1; }

# Nothing of the bundle but this script and the one that checks is run before it is known to be as it was signed.
[ "$rollback" = 1 ] || bash "$here/verify.sh" "${trusted[@]}" "${accepted[@]}" "$here"
# shellcheck source=scripts/site.sh
. "$here/site.sh"
[ ! -e "$QUADLETS/wlk.container" ] || quadlet=1

# ---- what this machine must have

problems=()
problem() { problems+=("$1" "$2"); }

# Bytes that are free where a folder is, or will be.
free_bytes() {
    local folder="$1"
    while [ ! -d "$folder" ]; do folder="$(dirname "$folder")"; done
    df --block-size=1 --output=avail "$folder" | tail -n 1 | tr -d ' '
}

mountpoint_of() {
    local folder="$1"
    while [ ! -d "$folder" ]; do folder="$(dirname "$folder")"; done
    df --output=target "$folder" | tail -n 1
}

check_disk() {
    local release="$1" copy=0 loaded=0 root
    [ -d "$release" ] || copy="$(du --summarize --bytes "$here" | cut -f 1)"
    [ -n "$(image_of "$here")" ] || loaded="$(fact "$here" tar | cut -d ' ' -f 2)"
    root="$("$engine" info --format '{{.DockerRootDir}}' 2>/dev/null || "$engine" info --format '{{.Store.GraphRoot}}' 2>/dev/null)"
    [ -d "$root" ] || root=/var/lib
    if [ "$(mountpoint_of "$PREFIX")" = "$(mountpoint_of "$root")" ]; then
        need_space "$PREFIX" $((copy + loaded))
    else
        need_space "$PREFIX" "$copy"
        need_space "$root" "$loaded"
    fi
}

# A tenth more than is known, so that no disk ends full to the last byte.
need_space() {
    local free
    [ "$2" != 0 ] || return 0
    free="$(free_bytes "$1")"
    [ "$free" -ge $(($2 + $2 / 10)) ] ||
        problem "$1 has $((free / 1000000)) MB free, and $(($2 * 11 / 10000000)) MB are needed" "make room there: df -h $1"
}

check_gpu() {
    local configure="nvidia-ctk runtime configure && systemctl restart docker"
    ! is_podman || configure="nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"
    case "$(fact "$here" target)" in
        cpu) return ;;
        jetson-*)
            [ -e "${WLK_TEGRA_RELEASE:-/etc/nv_tegra_release}" ] || problem "this is no Jetson" "ask for a bundle for this machine"
            ;;
        *)
            timeout 20 nvidia-smi >/dev/null 2>&1 ||
                problem "no NVIDIA driver answers" "install the driver, and see that nvidia-smi shows the GPU"
            ;;
    esac
    "$engine" info --format '{{json .Runtimes}}' 2>/dev/null | grep nvidia >/dev/null || [ -n "$(ls /etc/cdi/*nvidia* /var/run/cdi/*nvidia* 2>/dev/null)" ] ||
        problem "the engine has no NVIDIA runtime" "install nvidia-container-toolkit, then: $configure"
}

# Whether a port is listened on, as the kernel tells: state 0A in its tables.
in_use() {
    local hex
    printf -v hex '%04X' "$1"
    grep --quiet --no-messages --extended-regexp "^ *[0-9]+: [0-9A-F]+:$hex [0-9A-F]+:[0-9A-F]+ 0A " /proc/net/tcp /proc/net/tcp6
}

# wlk.service asks Podman's own service, which is started by its socket.
check_podman() {
    local version oldest=4.3 hint="install a newer one, or Docker: apt-get install docker.io"
    if ! is_podman; then
        [ "$quadlet" = 0 ] || problem "a Quadlet file is for Podman, and the engine is $engine" "without it: install.sh; rm -f $QUADLETS/wlk.container"
        return
    fi
    if [ "$quadlet" = 1 ]; then oldest=4.4 hint="install.sh without --quadlet (and without $QUADLETS/wlk.container)"; fi
    version="$("$engine" --version | sed 's/^[^0-9]*//')"
    if [ "$(printf '%s\n' "$oldest" "$version" | sort --version-sort | head -n 1)" != "$oldest" ]; then
        problem "this is Podman $version, and $oldest is the oldest that can do this" "$hint"
    fi
    systemctl cat podman.socket >/dev/null 2>&1 ||
        problem "Podman's socket is not among systemd's units: podman.socket" "install the distribution's package of Podman"
}

check_host() {
    local release="$1" made version
    [ -d "${WLK_SYSTEMD:-/run/systemd/system}" ] || problem "this machine was not booted by systemd" "without it: ./run_wlk.sh $(fact "$here" models | cut -d ' ' -f 1)"
    made="$(fact "$here" made)"
    [ "$(date +%s)" -ge "$(date --date "$made" +%s)" ] ||
        problem "the clock is at $(date -u +%F), before this release was made ($made)" "set it: timedatectl set-time '2026-01-31 12:00'"
    if find_engine; then
        check_podman
        version="$("$engine" version --format '{{.Server.Version}}' 2>/dev/null | cut -d . -f 1)"
        case "$(basename "$engine") $(fact "$here" archive)" in
            docker*.zst)
                if ! command -v zstd >/dev/null && [ ! -f "$here/image.tar" ] && [ "${version:-0}" -lt 23 ]; then
                    problem "Docker $version can't read zstd, and no program zstd is here" "apt-get install zstd; or ask for a bundle with --compression gzip"
                fi
                ;;
        esac
        check_disk "$release"
        check_gpu
    else
        problem "no container engine answers" "systemctl start docker; or install one: apt-get install docker.io"
    fi
    read_settings ""
    if in_use "${WLK_PORT:-8000}" && ! systemctl --quiet is-active wlk; then
        problem "port ${WLK_PORT:-8000} is in use" "end what listens there (ss -ltnp), or set WLK_PORT in $CONFIG/wlk.env"
    fi
    [ "${#problems[@]}" != 0 ] || return 0
    echo "error: this machine is not ready:" >&2
    printf '  - %s\n    hint: %s\n' "${problems[@]}" >&2
    exit 1
}

# ---- the steps; each can be repeated, and power may go at any moment

step() {
    echo "- $1"
    shift
    if [ "$dry" = 1 ]; then return; fi
    "$@"
}

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

verified() { bash "$1/verify.sh" "${trusted[@]}" --allow-downgrade "$1" >/dev/null; }

# Copy the bundle, and check the copy: from now on nothing is taken from the stick.
copy() {
    local release="$1" new="$PREFIX/releases/.new"
    mkdir -p "$PREFIX/releases"
    if [ -d "$release" ] && verified "$release" 2>/dev/null; then return; fi
    rm -rf "$new"
    cp --recursive --no-target-directory "$here" "$new"
    chmod --recursive u=rwX,go=rX "$new"
    chmod a+x "$new"/*.sh
    verified "$new" || die "the copy of the bundle is not as it was signed" "is the stick, or this disk, failing?"
    sync --file-system "$new"
    rm -rf "$release"
    mv -T "$new" "$release"
    sync "$PREFIX/releases"
}

settings() {
    local release="$1" word
    mkdir -p "$CONFIG"
    [ -e "$CONFIG/wlk.env" ] || put "$release/wlk.env" "$CONFIG/wlk.env" 600
    if [ ! -e "$CONFIG/bundle-key.pem" ]; then
        word="$release/key.pem"
        [ "${trusted[0]:-}" != --key ] || word="${trusted[1]}"
        put "$word" "$CONFIG/bundle-key.pem" 644
    fi
    mkdir -p "$STATE"
    chown "$OWNER" "$STATE"
    chmod 700 "$STATE"
}

units() {
    local unit
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
        rm -f "$PREFIX/.wlk.container" "$UNITS/wlk.service" "$UNITS/multi-user.target.wants/wlk.service"
        systemctl daemon-reload
    else
        put "$1/systemd/wlk.service" "$UNITS/wlk.service" 644
        systemctl daemon-reload
        systemctl --quiet enable wlk.service
    fi
    systemctl --quiet enable wlk-load.service wlk-cert.timer
    systemctl start wlk-cert.timer
}

# wlk.service, and the instances beside it that run.
restart() {
    local unit
    for unit in wlk.service $(systemctl list-units --plain --no-legend --state=active,activating 'wlk@*.service' | cut -d ' ' -f 1); do
        systemctl reset-failed "$unit" 2>/dev/null || true
        systemctl restart "$unit" || return 1
    done
}

why_failed() {
    { systemctl --no-pager --lines 0 status wlk.service || true; } 2>/dev/null | sed -n 's/^ *Status: "\(.*\)"$/\1/p'
}

# Switch to a release, with its units; the one before becomes the previous.
switch() {
    local before
    before="$(readlink "$PREFIX/current" || true)"
    units "$PREFIX/$1"
    point current "$1"
    if [ -n "$before" ] && [ "$before" != "$1" ]; then point previous "$before"; fi
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
    local address shown
    shown="$(hostname)"
    echo
    echo "wlk $(fact "$PREFIX/current" version) serves, now and after every boot:"
    echo "  https://$shown:${WLK_PORT:-8000}/"
    for address in $(hostname -I 2>/dev/null || true); do
        case "$address" in 172.17.* | 10.88.0.1) ;; *:*) ;; *) echo "  https://$address:${WLK_PORT:-8000}/" ;; esac
    done
    echo "The certificate of this device's CA (https://$shown:${WLK_PORT:-8000}/ca) has the SHA-256 fingerprint"
    echo "  $("$PREFIX/current/wlk_cert.sh" --dir "$STATE" --fingerprint)"
    echo "Settings: $CONFIG/wlk.env; state: systemctl status wlk; problems: $PREFIX/current/doctor.sh"
}

alone() {
    mkdir -p "$PREFIX"
    exec 9>>"$PREFIX/.lock"
    flock --nonblock 9 || die "another installation is going on" "wait for its end"
}

install() {
    local name release before previous why
    name="releases/$(fact "$here" version)-$(sha256sum "$here/CONTENTS" | head -c 12)"
    release="$PREFIX/$name"
    check_host "$release"
    [ "$dry" = 1 ] || alone
    before="$(readlink "$PREFIX/current" || true)"
    previous="$(readlink "$PREFIX/previous" || true)"
    [ "$dry" = 0 ] || echo "It would:"
    step "copy the release to $release and check the copy" copy "$release"
    step "keep $CONFIG/wlk.env, or write it if there is none; state in $STATE" settings "$release"
    step "hand the image to $engine" "$release/service.sh" load
    step "try the image aside: start it without a network, stream a recording through it, compare the text" try "$release" "$before"
    step "install the units into $UNITS, and switch from ${before:-nothing} to $name" switch "$name"
    echo "- make the certificate if that is due, start wlk, and wait until it serves"
    [ "$dry" = 0 ] || exit 0
    if [ "$changed" = 0 ] && systemctl --quiet is-active wlk; then
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
    die "the new image has failed its trial; $serving" "the lines above tell why; ask for another bundle"
}

return_to_previous() {
    local before previous why
    need_engine
    previous="$(readlink "$PREFIX/previous" || true)"
    before="$(readlink "$PREFIX/current" || true)"
    if [ -z "$previous" ] || [ ! -d "$PREFIX/$previous" ]; then
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
    if [ "$rollback" = 1 ]; then return_to_previous; else install; fi
    exit
}
main
