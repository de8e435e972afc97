#!/usr/bin/env bash
# Build the image of this kit again, without a network: needs bash, coreutils, find, grep, sed and docker or podman.
# Usage: build.sh [ENGINE]
set -euo pipefail
cd "$(dirname "$0")"
die() {
    echo "error: $1" >&2
    [ -z "${2:-}" ] || echo "  hint: $2" >&2
    exit 1
}

# From version 23 on, Docker's client hands such builds to a plugin, which some hosts lack.
can_build() {
    case "$(basename "$1")" in docker*) ;; *) return 0 ;; esac
    local version
    version="$("$1" version --format '{{.Client.Version}}' | cut -d . -f 1)"
    [ "$version" -lt 23 ] || "$1" buildx version >/dev/null 2>&1
}

usage() { echo "usage: build.sh [ENGINE]    build the image of this kit again, without a network"; }
case "${1:-}" in
    -h | --help) usage && exit 0 ;;
    -*) usage >&2 && exit 2 ;;
esac

engine=""
for candidate in ${1:-docker /usr/bin/docker podman}; do
    if command -v "$candidate" >/dev/null && "$candidate" ps >/dev/null 2>&1 && can_build "$candidate"; then
        engine="$candidate"
        break
    fi
done
[ -n "$engine" ] || die "no container engine answers and can build" "name one: ./build.sh /path/to/podman"

for tool in find grep sed; do command -v $tool >/dev/null || die "no $tool here" "install it"; done
echo "checking $(wc -l <SHA256SUMS) files" >&2
sha256sum --check --quiet --strict SHA256SUMS >&2 || die "this kit is damaged" "copy it again"
more="$(find . -type f ! -path ./SHA256SUMS ! -path './.work.*' -printf '%P\n' | grep --invert-match --line-regexp --fixed-strings --file <(sed 's/^[^ ]*  //' SHA256SUMS) || true)"
[ -z "$more" ] || die "this kit holds a file that its list does not name: ${more%%$'\n'*}" "remove it, or copy the kit again into an empty folder"

# shellcheck source=/dev/null
. ./build.env
work="$(mktemp -d "$PWD/.work.XXXXXX")"
unfinished="wlk-appliance-unfinished:kit-$$"
trap '"$engine" image rm "$unfinished" >/dev/null 2>&1 || true; rm -rf "$work"' EXIT
"$engine" image inspect "$BASE" >/dev/null 2>&1 || "$engine" load --input base.tar >/dev/null
arguments=()
for key in ${!ARG_*}; do
    arguments+=(--build-arg "${key#ARG_}=${!key}")
done
[ "$(basename "$engine")" != podman ] || arguments+=(--format docker)
DOCKER_BUILDKIT=1 "$engine" build --network=none "${arguments[@]}" --tag "$unfinished" context
"$engine" save --output "$work/raw.tar" "$unfinished"
"$engine" run --rm --network none --user 0:0 --volume "$work:/archives" "$unfinished" rewrite /archives/raw.tar /archives/image.tar \
    --tag "$NAME" --tag "$SHORT_NAME" --base-layers "$BASE_LAYERS" --file-time "$FILE_TIME" --created "$CREATED"
"$engine" load --input "$work/image.tar"
