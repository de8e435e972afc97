#!/usr/bin/env bash
# What the units do. It lies in the folder of a release, beside the image's archive; WLK_INSTANCE is set by wlk@NAME.service.
# shellcheck disable=SC2329 # functions that are called by name
set -euo pipefail
export LC_ALL=C

usage() {
    cat <<'END'
usage: service.sh load|cert|free|serve|ready|clear|try

The steps of the units of the appliance; `systemctl start wlk` takes them all.

  load    hand the image of this release to the engine, if it has not got it
  cert    make the server's certificate, or renew it, if that is due
  free    after a start that failed since Docker keeps the port for a container that is gone: restart Docker
  serve   run the server in its container, in front
  ready   wait until it serves; fail with the reason if it does not come to that. Then go on behind: ask the server for
          its health, and tell systemd while it is well (WatchdogSec of the unit)
  clear   remove what is left of its container
  try     start the image of this release aside, without a network, stream recordings through it, and compare the text

Settings are in /etc/wlk/wlk.env, those of wlk@NAME.service also in /etc/wlk/NAME.env.
END
}

release="$(dirname "$(readlink --canonicalize "$0")")"
# shellcheck source=scripts/site.sh
. "$release/site.sh"

instance="${WLK_INSTANCE:-}"
unit="wlk${instance:+@$instance}.service"
container="$(container_of "$instance")"
# The status by which systemd knows not to try again (RestartPreventExitStatus).
GAVE_UP=70
# How often systemd had started it again when it served last.
served="${RUNTIME_DIRECTORY:-/nonexistent}/served"
# There is this file after a start that failed since the engine had given the port away.
taken="${RUNTIME_DIRECTORY:-/nonexistent}/taken"

# Show a line in `systemctl status` too.
show() { [ -z "${NOTIFY_SOCKET:-}" ] || systemd-notify --status="$1" || true; }

say() {
    echo "wlk: $1"
    show "$1"
}

die() {
    complain "$@"
    show "did not start: $1"
    exit 1
}

load() {
    local archive="$release/image.tar"
    if [ -n "$(image_of "$release")" ]; then
        echo "wlk: the image is loaded already"
        return
    fi
    [ -f "$archive" ] || archive="$release/$(fact "$release" archive)"
    [ -f "$archive" ] || die "$archive is missing" "install the bundle again"
    echo "wlk: loading $archive"
    case "$archive" in
        *.zst) # Docker reads it from version 23 on
            if command -v zstd >/dev/null; then
                zstd --quiet --decompress --stdout "$archive" | "$engine" load --quiet >/dev/null
            else
                "$engine" load --quiet --input "$archive" >/dev/null || die "$engine can't read $archive" "apt-get install zstd"
            fi
            ;;
        *) "$engine" load --quiet --input "$archive" >/dev/null ;;
    esac || die "the image can't be loaded" "is the disk full? df -h; is the archive whole? $release/verify.sh"
    [ -n "$(image_of "$release")" ] || die "what $archive loads is not the image of this release" "install the bundle again"
}

# As the server's user, in whose folder it writes.
cert() {
    exec setpriv --reuid "${OWNER%:*}" --regid "${OWNER#*:}" --clear-groups "$release/wlk_cert.sh" --dir "$STATE"
}

# Replace this process by run_wlk.sh with the settings: start MODEL's server with more words.
start() {
    local words=("${WLK_MODEL:=$(first_model)}" "$@") image models tokens
    image="$(image_of "$release")"
    [ -n "$image" ] || die "the image of this release is not loaded" "systemctl restart wlk-load"
    [ -z "${WLK_GPUS:-}" ] || words+=(--gpus "$WLK_GPUS")
    # Not in the image: among those carried beside it, or a site's own.
    if [[ " $(fact "$release" models) " != *" $WLK_MODEL "* ]]; then
        models="$release/models"
        [ -d "$models/$WLK_MODEL" ] || models="${WLK_SITE_MODELS:-/data/whisper_models}"
        if [ ! -d "$models/$WLK_MODEL" ] && [ ! -d "$models/faster-whisper-$WLK_MODEL" ]; then
            die "no model $WLK_MODEL here: the image holds $(fact "$release" models)" \
                "set WLK_MODEL in $CONFIG/wlk.env to one of these; or copy the pair to $models"
        fi
        words+=(--models-dir "$models")
    fi
    # Tokens with names: where the settings name no file, systemd's credential, or the file beside them.
    for tokens in "${CREDENTIALS_DIRECTORY:-}/wlk-tokens" "$CONFIG/tokens"; do
        if [ -z "${WLK_TOKEN_FILE:-}" ] && [ -e "$tokens" ]; then export WLK_TOKEN_FILE="$tokens"; fi
    done
    export WLK_IMAGE="$image" WLK_STATE_VOLUME="$STATE" WLK_ENGINE="$engine"
    exec "$release/run_wlk.sh" "${words[@]}"
}

first_model() {
    local models
    models="$(fact "$release" models)"
    echo "${models%% *}"
}

# The engine may be just starting, or away for a while.
wait_engine() {
    local until=$((SECONDS + ${WLK_ENGINE_SECONDS:-300}))
    find_engine && return
    say "waiting for the container engine"
    while [ "$SECONDS" -lt "$until" ]; do
        sleep 1
        find_engine && return
    done
    need_engine
}

# Docker that lost its power while it started a container forgets that container, but not its port, until its own next start.
# That is nobody's loss while no container runs.
free() {
    local port="${WLK_PORT:-8000}" other
    [ -e "$taken" ] || return 0
    rm -f "$taken"
    find_engine && ! is_podman || return 0
    other="$("$engine" ps --filter "publish=$port" --format '{{.Names}}')"
    if [ -n "$other" ]; then
        complain "port $port is that of the container $other" "stop that one, or set WLK_PORT in $CONFIG/wlk.env to another"
    elif [ -n "$("$engine" ps --quiet)" ]; then
        complain "Docker keeps port $port for a container that is gone" "systemctl restart docker (that ends its other containers)"
    else
        say "Docker keeps port $port for a container that is gone: restarting Docker"
        timeout 120 systemctl restart docker || complain "Docker was not restarted" "systemctl restart docker"
    fi
}

# How often systemd has started it again by itself; a start by hand begins at 0.
restarts() { systemctl show --property NRestarts --value "$unit" 2>/dev/null || echo 0; }

serve() {
    local failed before=0 wait
    [ ! -f "$served" ] || before="$(<"$served")"
    failed="$(restarts)"
    [ "$failed" -ge "$before" ] || before=0
    # After starts that failed: 5, 10, 20, 40, 80 s, each time longer; in the end it stays as it is.
    failed=$((failed - before))
    if [ "$failed" -ge "${WLK_START_TRIES:-6}" ]; then
        complain "gave up after $failed starts that failed; journalctl -u $unit tells why" "mend that, then: systemctl start $unit"
        exit "$GAVE_UP"
    fi
    if [ "$failed" -gt 0 ]; then
        wait=$((5 * 2 ** (failed < 5 ? failed - 1 : 4)))
        say "trying again in $wait s"
        sleep "$wait"
    fi
    wait_engine
    [ -n "$(image_of "$release")" ] || load
    clear_container
    say "starting"
    case "${WLK_LISTEN:-0.0.0.0}" in
        0.0.0.0) WLK_NAME="$container" start --foreground --port "${WLK_PORT:-8000}" ;;
        127.0.0.1) WLK_NAME="$container" start --foreground --port "${WLK_PORT:-8000}" --local ;;
        *) die "WLK_LISTEN is '$WLK_LISTEN'" "0.0.0.0 serves the network, 127.0.0.1 this machine only" ;;
    esac
}

# Tell systemd that all is well; where it does not wait for that, it takes no notice.
beat() { [ -z "${NOTIFY_SOCKET:-}" ] || systemd-notify WATCHDOG=1 || true; }

# What a server answers that is asked for its health; an engine that hangs is no answer either.
health() {
    local container="$1"
    shift
    timeout 30 "$engine" exec "$container" python3 -m appliance health "$@" 2>&1
}

healthy() { { [ -n "${engine:-}" ] || find_engine; } && health "$1" --ready; }

# Wait for a container to be ready; fails when that takes too long or `$2` no longer succeeds.
wait_ready() {
    local until=$((SECONDS + ${WLK_START_SECONDS:-600}))
    while [ "$SECONDS" -lt "$until" ]; do
        $2 || return 1
        beat
        ! healthy "$1" >/dev/null || return 0
        sleep 0.5
    done
    return 1
}

main_alive() { [ -n "${MAINPID:-}" ] && kill -0 "$MAINPID" 2>/dev/null; }

# The last error that was told in this start, for those who only see that it failed. The journal may be a moment behind.
last_error() {
    local said
    for _ in 1 2 3 4 5; do
        said="$(journalctl --unit "$unit" --output cat --since "-$((SECONDS + 2))s" 2>/dev/null |
            grep --extended-regexp '^(error: |  hint: |docker: |Error: )|ERROR' | tail -n 2 | tr '\n' ' ')"
        [ -z "$said" ] || break
        sleep 0.3
    done
    echo "${said% }"
}

ready() {
    local why
    if wait_ready "$container" main_alive; then
        [ -z "${RUNTIME_DIRECTORY:-}" ] || restarts >"$served"
        say "serving ${WLK_MODEL:-$(first_model)} on port ${WLK_PORT:-8000}"
        [ -z "${NOTIFY_SOCKET:-}" ] || watch </dev/null &
        return
    fi
    if main_alive; then
        why="it was not ready after ${WLK_START_SECONDS:-600} s: $(healthy "$container" | tail -n 1 || true)"
    else
        why="$(last_error || true)"
    fi
    case "$why" in *"port is already allocated"*) [ -z "${RUNTIME_DIRECTORY:-}" ] || : >"$taken" ;; esac
    say "did not start: ${why:-journalctl -u $unit tells why}"
    exit 1
}

# Beside the server for as long as it lives: systemd hears that all is well only while the server itself says so.
watch() {
    local said
    while main_alive; do
        if said="$(health "$container")"; then beat; else echo "wlk: not well: $(tail -n 1 <<<"$said")"; fi
        sleep "${WLK_WATCH_SECONDS:-20}"
    done
}

clear_container() { "$engine" rm --force --volumes "$container" >/dev/null 2>&1 || true; }

# A container of this release beside the one that serves: neither port nor network, and a state that goes with it.
try() {
    container="wlk-try"
    clear_container
    trap clear_container EXIT
    (WLK_NAME="$container" start --aside) >/dev/null || die "the image does not start"
    if ! wait_ready "$container" running_aside; then
        "$engine" logs --tail 20 "$container" >&2 || true
        die "the image starts, but does not come to serve" "the lines above are its log"
    fi
    "$engine" exec "$container" python3 -m appliance selftest --url ws://127.0.0.1:8000/asr ||
        die "the image serves, but not as it should" "the lines above tell what it heard"
}

running_aside() { [ "$("$engine" inspect --format '{{.State.Running}}' "$container")" = true ]; }

[ $# = 1 ] || misused "one step is needed"
case "$1" in
    -h | --help) usage && exit 0 ;;
    cert) read_settings "$instance" && cert ;;
    load) wait_engine && load ;;
    free) read_settings "$instance" && free ;;
    serve) read_settings "$instance" && serve ;;
    ready) read_settings "$instance" && ready ;;
    try) read_settings "$instance" && need_engine && try ;;
    clear) need_engine && clear_container ;;
    *) misused "unknown step: $1" ;;
esac
