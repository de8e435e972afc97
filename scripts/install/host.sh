#!/usr/bin/env bash
# What a machine must have before anything is installed: all that is lacking is told at once. Sourced by install.sh.
# shellcheck disable=SC2154

problems=()
problem() { problems+=("$1" "$2"); }

# What `df` tells, in a column, of where a folder is, or will be.
disk_of() {
    local folder="$2"
    while [ ! -d "$folder" ]; do folder="$(dirname "$folder")"; done
    df --block-size=1 --output="$1" "$folder" | tail -n 1 | tr -d ' '
}

check_disk() {
    local release="$1" copy=0 loaded=0 root containerd=/var/lib/containerd
    [ -d "$release" ] || copy="$(du --summarize --bytes "$bundle" | cut -f 1)"
    # Docker unpacks an archive and then stores its layers; for a moment both are there.
    [ -n "$(image_of "$bundle")" ] || loaded=$((2 * $(fact "$bundle" tar | cut -d ' ' -f 2)))
    root="$("$engine" info --format '{{.DockerRootDir}}' 2>/dev/null || "$engine" info --format '{{.Store.GraphRoot}}' 2>/dev/null)"
    [ -d "$root" ] || root=/var/lib
    if [ -d "$containerd" ] && "$engine" info 2>/dev/null | grep 'io.containerd.snapshotter' >/dev/null; then root="$containerd"; fi
    if [ "$(disk_of target "$PREFIX")" = "$(disk_of target "$root")" ]; then
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
    free="$(disk_of avail "$1")"
    [ "$free" -ge $(($2 + $2 / 10)) ] ||
        problem "$1 has $((free / 1000000)) MB free, and $(($2 * 11 / 10000000)) MB are needed" "make room there: df -h $1"
}

check_gpu() {
    local configure="nvidia-ctk runtime configure && systemctl restart docker"
    ! is_podman || configure="nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"
    case "$(fact "$bundle" target)" in
        cpu) return ;;
        jetson-*)
            is_jetson || problem "this is no Jetson" "ask for a bundle for this machine"
            ;;
        *)
            timeout 20 nvidia-smi >/dev/null 2>&1 ||
                problem "no NVIDIA driver answers" "install the driver, and see that nvidia-smi shows the GPU"
            ;;
    esac
    hands_in_gpus || problem "the engine has no NVIDIA runtime" "install nvidia-container-toolkit, then: $configure"
}

# wlk.service asks Podman's own service, which is started by its socket.
check_podman() {
    local version oldest=4.3 hint="install a newer one, or Docker: apt-get install docker.io"
    if ! is_podman; then
        [ "$quadlet" = 0 ] || problem "a Quadlet file is for Podman, and the engine is $engine" "without it: install.sh; rm -f $QUADLETS/wlk.container"
        return
    fi
    if [ "$quadlet" = 1 ]; then
        oldest=4.4 hint="install.sh without --quadlet (and without $QUADLETS/wlk.container)"
        check_quadlet
    fi
    version="$("$engine" --version | sed 's/^[^0-9]*//')"
    if [ "$(printf '%s\n' "$oldest" "$version" | sort --version-sort | head -n 1)" != "$oldest" ]; then
        problem "this is Podman $version, and $oldest is the oldest that can do this" "$hint"
    fi
    systemctl cat podman.socket >/dev/null 2>&1 ||
        problem "Podman's socket is not among systemd's units: podman.socket" "install the distribution's package of Podman"
}

# Podman hands the container the settings alone, and an empty one over what the image says.
check_quadlet() {
    local model handed_in=("$CONFIG/wlk.env")
    model="$(fact "$bundle" models | cut -d ' ' -f 1)"
    if [ "$("$engine" --version | sed 's/^[^0-9]*//; s/\..*//')" -ge 5 ]; then # older ones read no drop-ins
        handed_in+=("$QUADLETS"/wlk.container.d/*.conf)
    fi
    if [ -e "$CONFIG/tokens" ] &&
        ! grep --extended-regexp --quiet --no-messages '^[^#;]*WLK_TOKEN(S|_FILE)?(=[^[:space:]]|,|$)' "${handed_in[@]}"; then
        problem "a Quadlet file hands no list of tokens in, and $CONFIG/tokens is there: everybody could connect" "hand it in as $PREFIX/current/docs/install.md says (With Podman); or set WLK_TOKEN in $CONFIG/wlk.env, and remove the list"
    fi
    if [ "$model" != base ] && grep --quiet --no-messages '^WLK_MODEL=$' "$CONFIG/wlk.env"; then
        problem "WLK_MODEL is empty in $CONFIG/wlk.env, and with a Quadlet file the server would look for base" "write WLK_MODEL=$model"
    fi
}

check_host() {
    local release="$1" made version
    [ -d "${WLK_SYSTEMD:-/run/systemd/system}" ] || problem "this machine was not booted by systemd" "without it: ./run_wlk.sh $(fact "$bundle" models | cut -d ' ' -f 1)"
    made="$(fact "$bundle" made)"
    [ "$(date +%s)" -ge "$(date --date "$made" +%s)" ] ||
        problem "the clock is at $(date -u +%F), before this release was made ($made)" "set it: timedatectl set-ntp false; timedatectl set-time '2026-01-31 12:00'"
    if find_engine; then
        check_podman
        case "$(readlink --canonicalize "$(command -v "$engine")")" in
            */snap) problem "Docker is installed as a snap, which can't run in closed-in units" "snap remove docker; apt-get install docker.io" ;;
        esac
        version="$("$engine" version --format '{{.Server.Version}}' 2>/dev/null | cut -d . -f 1)"
        if [ "$(basename "$engine")" = docker ] && [ "${version:-20}" -lt 20 ]; then
            problem "this is Docker $version, and 20.10 is the oldest that can do this" "install a newer one: apt-get install docker.io"
        fi
        case "$(basename "$engine") $(fact "$bundle" archive)" in
            docker*.zst)
                if ! command -v zstd >/dev/null && [ ! -f "$bundle/image.tar" ] && [ "${version:-0}" -lt 23 ]; then
                    problem "Docker $version can't read zstd, and no program zstd is here" "apt-get install zstd; or ask for a bundle with --compression gzip"
                fi
                ;;
        esac
        check_disk "$release"
        check_gpu
    else
        problem "no container engine answers within 20 s" "systemctl start docker; or install one: apt-get install docker.io"
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
