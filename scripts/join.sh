#!/usr/bin/env bash
# Put the parts of a bundle together again, each checked first. Needs bash, coreutils, tar and openssl 3.
set -euo pipefail
export LC_ALL=C

usage() {
    cat <<'END'
usage: join.sh [OPTIONS] [FOLDER]

Join the parts of a bundle that lie in FOLDER (where this script lies, unless given), each checked against the signed
list first, and unpack it. Run again with the next stick, it goes on with the first part that is missing.

  --to DIR             where the bundle is put together; the same each time (.)
  --key FILE           the public key of who made the bundle (/etc/wlk/bundle-key.pem, where it is)
  --trust FINGERPRINT  take the key beside the parts, if this is its fingerprint: 64 digits, or the first 32 at least
  -h, --help           show this

It ends with 0 when the bundle is whole, with 3 when parts are still to come, with 1 when something is wrong.
END
}

# shellcheck source=scripts/signed.sh
. "$(dirname "$(readlink --canonicalize "$0")")/signed.sh"

to="."
while [ $# -gt 0 ]; do
    case "$1" in
        --to) value_of "$1" $# && to="$2" && shift ;;
        *) take_option "$@" && shift $((taken - 1)) ;;
    esac
    shift
done
mkdir -p "$to" || die "can't write to $to" "--to names another folder"
to="$(cd "$to" && pwd)"
enter_folder
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
require_signed PARTS

parts=()
number=0
while IFS= read -r row; do
    number=$((number + 1))
    if [ "$number" = 1 ]; then
        [ "$row" = "wlk-parts 1" ] || die "these parts are of another kind: $row" "use the join.sh that came with them"
    elif [[ "$row" =~ ^(whole|part)\ ([0-9a-f]{64})\ ([0-9]+)\ ($word)$ ]]; then
        name="${BASH_REMATCH[4]}"
        digest["$name"]="${BASH_REMATCH[2]}"
        size["$name"]="${BASH_REMATCH[3]}"
        if [ "${BASH_REMATCH[1]}" = whole ]; then joint="$name"; else parts+=("$name"); fi
    else
        die "PARTS, line $number is malformed: $row" "get it again"
    fi
done <"$work/list"

joined="$to/$joint.joining"
if [ -L "$joined" ] || { [ -e "$joined" ] && [ ! -O "$joined" ]; }; then
    die "$joined is somebody else's" "--to names a folder that only you can write to"
fi
[ -f "$joined" ] || : >"$joined" || die "can't write to $to" "--to names another folder"
have="$(stat --format %s "$joined")"
at=0
missing=()
damaged=()
for part in "${parts[@]}"; do
    end=$((at + size[$part]))
    if [ "$have" -ge "$end" ]; then
        at=$end
        continue # joined in an earlier run; the whole is checked at the end
    fi
    if [ ! -f "$part" ]; then
        missing+=("$part")
    elif [ "$(stat --format %s "$part")" != "${size[$part]}" ] || [ "$(sum_of "$part")" != "${digest[$part]}" ]; then
        damaged+=("$part")
    elif [ "${#missing[@]}${#damaged[@]}" = 00 ]; then
        truncate --size "$at" "$joined" # what an interrupted run left of this part
        cat "$part" >>"$joined" || die "can't write $joined" "is there room on the disk? df -h $to"
        have=$end
        echo "joined $part (${#parts[@]} in all)" >&2
    fi
    at=$end
done
for part in "${missing[@]}"; do echo "  missing: $part" >&2; done
for part in "${damaged[@]}"; do echo "  damaged: $part" >&2; done
[ "${#damaged[@]}" = 0 ] || die "parts are not as they were signed" "copy them again, and run this again: it goes on from there"
if [ "${#missing[@]}" != 0 ]; then
    echo "${#missing[@]} of ${#parts[@]} parts are still to come: run this again where they are, with --to $to" >&2
    exit 3
fi
if [ "$(sum_of "$joined")" != "${digest[$joint]}" ]; then
    rm -f "$joined"
    die "the parts together are not what was signed" "run this again: it begins anew"
fi
tar --extract --no-same-owner --directory "$to" --file "$joined" || die "can't unpack $joined" "is there room on the disk? df -h $to"
rm -f "$joined"
echo "whole: $to/${joint%.tar}"
