#!/usr/bin/env bash
# What the kernel says of the server's process in its container: harden-check.sh asks it, not the engine, whose word may be of
# before. Sourced by it.
# shellcheck disable=SC2034,SC2154

AGAIN="started by other means? run_wlk.sh and wlk.service close it in"

check_container() {
    local pid
    if ! find_engine; then
        warning container "not looked at: no container engine answers" "run this as root; systemctl status docker"
        return
    fi
    pid="$(bounded "$engine" inspect --format '{{.State.Pid}}' "$container" 2>/dev/null)"
    if ! is_number "$pid" || [ "$pid" = 0 ] || [ ! -r "/proc/$pid/status" ]; then
        error container "$container does not run" "systemctl status wlk; another name: --container NAME"
        return
    fi
    check_rights "$pid"
    check_mounts "$pid"
    check_limit "$pid" memory memory.max memory.limit_in_bytes
    check_limit "$pid" processes pids.max pids.max
    check_network "$pid"
}

fact_of() { sed --quiet "s/^$2:[[:space:]]*//p" "/proc/$1/status"; }

# Whether a fact of a process is as it should be: must PID CHECK FACT WANTED WHAT-ELSE
must() {
    local found
    found="$(fact_of "$1" "$3")"
    if [[ "$found" =~ ^$4$ ]]; then ok "$2" "$3 $found"; else error "$2" "$5: $3 ${found:-is not told}" "$AGAIN"; fi
}

check_rights() {
    local name given="" user
    read -r user _ < <(fact_of "$1" Uid)
    if [ "$user" = 0 ]; then error user "it runs as root" "$AGAIN"; else ok user "$user"; fi
    for name in CapInh CapPrm CapEff CapBnd CapAmb; do
        [[ "$(fact_of "$1" "$name")" =~ ^0+$ ]] || given+=" $name $(fact_of "$1" "$name")"
    done
    if [ -z "$given" ]; then ok capabilities "none, nor can it get any"; else error capabilities "it has some:$given" "$AGAIN"; fi
    must "$1" "new privileges" NoNewPrivs 1 "it could gain some"
    must "$1" "system calls" Seccomp 2 "no filter bounds them"
}

# Nothing can be written but state and what is gone with the container.
check_mounts() {
    local place options more="" root="" source kind sockets=""
    while read -r source place kind options _; do
        case "$place" in
            /) root="$options" ;; # of several the last one counts
            /proc | /proc/* | /dev | /dev/* | /sys | /sys/* | /run | /run/* | /tmp | /var/lib/wlk | /etc/hosts | /etc/hostname | /etc/resolv.conf) ;;
            *) [[ "$options" != rw* ]] || more+=" $place" ;;
        esac
        [[ "$place" != *docker.sock && "$place" != *podman.sock ]] || sockets+=" $place"
    done <"/proc/$1/mounts"
    for place in docker.sock podman/podman.sock containerd/containerd.sock crio/crio.sock; do # in a folder that was handed in
        [ ! -e "/proc/$1/root/run/$place" ] || [[ "$sockets" = *"/run/$place"* ]] || sockets+=" /run/$place"
    done
    [ -z "$sockets" ] || error "engine's socket" "the container has$sockets: whoever takes the server over has this machine" "$AGAIN"
    if [[ ",$root," = *,ro,* ]]; then ok "file system" "read-only"; else error "file system" "it can be written to" "$AGAIN"; fi
    [ -z "$more" ] || warning "other folders" "it can write to$more" "mount them read-only"
}

# check_limit PID CHECK FILE FILE-OF-CGROUP-1
check_limit() {
    local path found
    path="$(sed --quiet 's/^0:://p' "/proc/$1/cgroup" | head -n 1)"
    found="$(cat "/sys/fs/cgroup$path/$3" 2>/dev/null)"
    if [ -z "$found" ]; then # the older kind has a tree for each
        path="$(sed --quiet --regexp-extended "s/^[0-9]+:[^:]*\b${3%%.*}\b[^:]*://p" "/proc/$1/cgroup" | head -n 1)"
        found="$(cat "/sys/fs/cgroup/${3%%.*}$path/$4" 2>/dev/null)"
    fi
    if is_number "$found" && [ "$found" -lt 1000000000000 ]; then
        ok "$2" "at most $found"
    elif [ -z "$found" ] && [ "$path" != / ]; then
        warning "$2" "not looked at: no group $path" "run this as root, and on the machine itself"
    else
        error "$2" "it may take all that there is: ${found:-no limit}" "$AGAIN"
    fi
}

check_network() {
    local port others="" row filters
    if [ "$(readlink "/proc/$1/ns/net")" = "$(readlink /proc/self/ns/net)" ]; then
        error network "it is in this machine's own network" "$AGAIN"
        return
    fi
    while read -r _ row _ filters _; do # 0A: it listens
        [ "$filters" = 0A ] || continue
        port=$((16#${row##*:}))
        # Docker's own names are served at its loopback.
        [ "$port" = 8000 ] || [[ "$row" = 0B00007F:* ]] || others+=" $port"
    done < <(cat "/proc/$1/net/tcp" "/proc/$1/net/tcp6" 2>/dev/null)
    if [ -z "$others" ]; then ok "open port" "8000 in the container, and no other"; else error "open port" "it listens at$others too" "$AGAIN"; fi
    filters="$(fact_of "$1" Seccomp_filters)"
    if is_number "$filters" && [ "$filters" -ge 2 ]; then
        ok "way out" "the kernel refuses it any connection"
    else
        warning "way out" "the kernel is not seen to refuse it connections" "remove WLK_ALLOW_OUTGOING from $CONFIG/wlk.env; its log tells why it can't"
    fi
}
