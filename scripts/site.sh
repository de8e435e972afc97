#!/usr/bin/env bash
# What the scripts of an installed appliance share: its places, its settings, the engine, and the image of a release.
# Sourced by service.sh, install.sh, uninstall.sh, doctor.sh and harden-check.sh.
# shellcheck disable=SC2034,SC2154

# shellcheck source=scripts/errors.sh
. "$(dirname "${BASH_SOURCE[0]}")/errors.sh"

PREFIX="${WLK_PREFIX:-/opt/wlk}"
CONFIG="${WLK_CONFIG:-/etc/wlk}"
STATE="${WLK_STATE:-/var/lib/wlk}"
UNITS="${WLK_UNITS:-/etc/systemd/system}"
QUADLETS="${WLK_QUADLETS:-/etc/containers/systemd}"
# The user that runs the server in the container (images/*/Dockerfile).
OWNER=10001:10001

# Tell a step and take it; with $dry set, tell it only.
step() {
    echo "- $1"
    shift
    if [ "$dry" = 1 ]; then return; fi
    "$@"
}

# The container of an instance: that of wlk.service, or of wlk@NAME.service.
container_of() {
    echo "wlk-service${1:+-$1}"
}

# Set the settings of an instance: $CONFIG/wlk.env, and over it $CONFIG/NAME.env. Lines of NAME=value, as they stand but for
# one pair of quotes; nothing is run. What the environment says already, wins.
read_settings() {
    local file row number name value
    local -A before=()
    while IFS= read -r name; do before["$name"]=1; done < <(compgen -e WLK_)
    for file in "$CONFIG/wlk.env" ${1:+"$CONFIG/$1.env"}; do
        if [ ! -e "$file" ]; then
            [ "$file" = "$CONFIG/wlk.env" ] || die "no $file" "an instance has its settings there: WLK_PORT, WLK_MODEL, ..."
            continue
        fi
        [ -r "$file" ] || die "may not read $file" "run this as root"
        number=0
        while IFS= read -r row || [ -n "$row" ]; do
            number=$((number + 1))
            row="${row%$'\r'}"
            [[ "$row" =~ ^[[:space:]]*(#|$) ]] && continue
            row="${row%"${row##*[![:space:]]}"}" # no blanks at the end
            [[ "$row" =~ ^[[:space:]]*(WLK_[A-Z0-9_]+)=(.*)$ ]] ||
                die "$file, line $number, is no setting: $(printf %q "${row%%=*}")" "NAME=value, where NAME begins with WLK_"
            name="${BASH_REMATCH[1]}" value="${BASH_REMATCH[2]}"
            [[ "$value" =~ ^\"(.*)\"$ || "$value" =~ ^\'(.*)\'$ ]] && value="${BASH_REMATCH[1]}"
            [ -n "${before[$name]:-}" ] || export "$name=$value"
        done <"$file"
    done
}

# Set $engine to the first engine whose daemon answers; a client without one may stand first on PATH.
find_engine() {
    local candidate
    for candidate in ${WLK_ENGINE:-docker /usr/bin/docker podman}; do
        if command -v "$candidate" >/dev/null && timeout --foreground 20 "$candidate" ps >/dev/null 2>&1; then
            engine="$candidate"
            return
        fi
    done
    engine=""
    return 1
}

need_engine() {
    find_engine || die "no container engine answers: ${WLK_ENGINE:-docker or podman}" "systemctl start docker, or podman.socket; or install one: apt-get install docker.io"
}

# Whether it is Podman, also under Docker's name.
is_podman() { [[ "$("$engine" --version 2>/dev/null)" == podman* ]]; }

# Whether the engine can hand GPUs in, by the way in which run_wlk.sh asks it to. On a Jetson Docker's is its runtime alone.
hands_in_gpus() {
    if is_podman; then
        compgen -G '/etc/cdi/*nvidia*' >/dev/null || compgen -G '/var/run/cdi/*nvidia*' >/dev/null
        return
    fi
    # shellcheck disable=SC2016 # these are the engine's
    [[ " $("$engine" info --format '{{range $name, $_ := .Runtimes}}{{$name}} {{end}}' 2>/dev/null) " = *" nvidia "* ]] ||
        { ! is_jetson && command -v nvidia-container-runtime-hook >/dev/null; }
}

is_jetson() { [ -e "${WLK_TEGRA_RELEASE:-/etc/nv_tegra_release}" ]; }

# Whether a port is listened on, as the kernel tells: state 0A in its tables.
in_use() {
    local hex
    printf -v hex '%04X' "$1"
    grep --quiet --no-messages --extended-regexp "^ *[0-9]+: [0-9A-F]+:$hex [0-9A-F]+:[0-9A-F]+ 0A " /proc/net/tcp /proc/net/tcp6
}

# A fact of a release, from its list: fact FOLDER NAME.
fact() {
    sed -n "s/^$2 //p" "$1/CONTENTS" | head -n 1
}

# The name by which the engine knows the image of a release, or nothing: its digest; or, where an engine gives images other
# digests (Docker's containerd store), its tag, if the layers under it are the release's.
image_of() {
    local id tag
    id="$(fact "$1" image)"
    if "$engine" image inspect "$id" >/dev/null 2>&1; then
        echo "$id"
        return
    fi
    tag="$(fact "$1" tag)"
    [ "$("$engine" image inspect --format '{{range .RootFS.Layers}}{{println .}}{{end}}' "$tag" 2>/dev/null | sed '/^$/d')" != \
        "$(sed -n 's/^layer \([0-9a-f]*\) .*/sha256:\1/p' "$1/CONTENTS")" ] || echo "$tag"
}
