#!/usr/bin/env bash
# Checks of this machine: user, programs, engine, disks, clock. Sourced by doctor.sh.
# shellcheck disable=SC2034,SC2154

check_user() {
    [ "$(id -u)" = 0 ] || note user "not run as root: some of this can't be seen, and is told as missing" "sudo $0"
}

check_programs() {
    local said
    if ! said="$(bounded openssl version 2>&1)"; then
        error openssl "openssl can't be run: $(last_line "$said")" "apt-get install openssl"
    elif [[ "$said" =~ ^OpenSSL\ ([3-9]|[1-9][0-9])\. ]]; then
        ok openssl "${said%% (*}"
    else
        error openssl "$said is too old for the certificate and for signatures" "install openssl 3 or newer"
    fi
}

check_engine() {
    local candidate path said status problems=()
    local -A asked=()
    for candidate in ${WLK_ENGINE:-docker /usr/bin/docker podman}; do
        path="$(command -v "$candidate")" || continue
        [ -z "${asked[$path]:-}" ] || continue # not twice, if it hangs
        asked["$path"]=1
        said="$(bounded "$candidate" ps 2>&1)"
        status=$?
        if [ $status = 0 ]; then
            program="$candidate"
            engine=ask # what site.sh asks is bounded too
            engine_version
            return
        fi
        case $status in 124 | 137) said="no answer within $LIMIT s" ;; esac
        problems+=("$candidate: $(last_line "$said")")
    done
    if [ "${#problems[@]}" = 0 ]; then
        error engine "no container engine is installed: ${WLK_ENGINE:-neither docker nor podman}" "apt-get install docker.io"
    else
        error engine "no container engine answers: ${problems[0]}" "systemctl restart docker; journalctl -u docker -n 50"
    fi
}

engine_version() {
    local version
    version="$(ask --version 2>/dev/null)"
    kind=docker
    case "$version" in *podman*) kind=podman ;; esac
    [ "$kind" = podman ] && version="${version##* }" || version="$(ask version --format '{{.Server.Version}}' 2>/dev/null)"
    if [[ ! "$version" =~ ^([0-9]+)\. ]]; then
        warning engine "$program answers, and does not tell its version" "$program version"
    elif [ "$kind" = docker ] && [ "${BASH_REMATCH[1]}" -lt 20 ]; then
        error engine "docker $version is too old" "install docker 20.10 or newer"
    else
        ok engine "$program $version answers"
    fi
    if [ "$kind" = docker ] && [[ "$version" =~ ^([0-9]+)\. ]] && [ "${BASH_REMATCH[1]}" -lt 23 ] &&
        [[ -n "$release" && "$(fact "$release" archive)" = *.zst && ! -f "$release/image.tar" ]] && ! command -v zstd >/dev/null; then
        warning zstd "docker $version can't read the image's archive itself, and there is no zstd to unpack it" "apt-get install zstd"
    fi
}

# Whether there is room: CHECK FOLDER LEAST WANTED WHAT-FOR
check_room() {
    local room
    [ -e "$2" ] || return 0
    read -r _ room < <(bounded df --block-size=1 --output=itotal,avail -- "$2" 2>/dev/null | tail -n 1)
    if ! is_number "${room:-}"; then
        error "$1" "how much room there is in $2 can't be told" "df -h $2"
    elif [ "$room" -lt "$3" ]; then
        error "$1" "$(amount "$room") free in $2, which is full" "df -h $2; du -xh $2 | sort -h | tail"
    elif [ "$room" -lt "$4" ]; then
        warning "$1" "$(amount "$room") free in $2; $5 takes $(amount "$4")" "df -h $2; du -xh $2 | sort -h | tail"
    else
        ok "$1" "$(amount "$room") free in $2"
    fi
    check_inodes "$@"
}

check_inodes() {
    local all free
    read -r all free < <(bounded df --output=itotal,iavail -- "$2" 2>/dev/null | tail -n 1)
    if is_number "${all:-}" && is_number "${free:-}" && [ "$all" -gt 0 ] && [ "$free" -lt 1000 ]; then
        error "$1" "$free inodes are free in $2: no new files" "df -i $2; remove what has many files"
    fi
}

check_disks() {
    local root image=0 carried=0 size path word
    if [ -n "$release" ]; then
        read -r _ image <<<"$(fact "$release" tar)"
        while read -r word _ size path; do [ "$word" != file ] || carried=$((carried + size)); done <"$release/CONTENTS"
    fi
    check_room "disk" "$PREFIX" $((50 * MB)) $((carried + 50 * MB)) "the next release"
    check_room "disk state" "$STATE" $((10 * MB)) $((100 * MB)) "what the server keeps"
    [ -n "$program" ] || return 0
    [ "$kind" = docker ] && root="$(ask info --format '{{.DockerRootDir}}' 2>/dev/null)" || root="$(ask info --format '{{.Store.GraphRoot}}' 2>/dev/null)"
    if [ -d "$root" ]; then
        check_room "disk engine" "$root" $((200 * MB)) $((image + 200 * MB)) "the next image"
    else
        note "disk engine" "where $program keeps images can't be told: ${root:-nothing said}" "$program info"
    fi
}

# A clock that is late makes certificates that are not valid yet, and logs that can't be read.
check_clock() {
    local made=""
    [ -z "$release" ] || made="$(date --date "$(fact "$release" made)" +%s 2>/dev/null)"
    if [ "$(date +%s)" -lt "${made:-0}" ]; then
        error clock "it is $(date +%F) here, and the release was made on $(date --date "@$made" +%F)" "timedatectl set-ntp false; timedatectl set-time 'YYYY-MM-DD HH:MM:SS'"
    elif [ "$(bounded timedatectl show --property NTPSynchronized --value 2>/dev/null)" = yes ]; then
        ok clock "$(date '+%F %T %Z'), synchronized"
    else
        note clock "$(date '+%F %T %Z'), not synchronized with any other clock" "a time server of the site: NTP= in /etc/systemd/timesyncd.conf"
    fi
}
