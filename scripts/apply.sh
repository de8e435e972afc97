#!/usr/bin/env bash
# Put a whole bundle together from a delta and the bundle that is here. Needs bash, coreutils, openssl 3, and zstd or gzip,
# whichever the images are compressed with.
set -euo pipefail
export LC_ALL=C

usage() {
    cat <<'END'
usage: apply.sh [OPTIONS] [FOLDER]

Make of the delta in FOLDER (where this script lies, unless given) and of the bundle that this site has the whole new
bundle, which is then checked like any other.

  --base DIR           the bundle that this site has (/opt/wlk/current)
  --to DIR             where the new one goes; there must be nothing yet (./new.bundle)
  --key FILE           the public key of who made the delta (/etc/wlk/bundle-key.pem, where it is)
  --trust FINGERPRINT  take the key in the delta, if this is its fingerprint: 64 digits, or the first 32 at least
  --allow-downgrade    also where a newer version is installed
  -h, --help           show this
END
}

# shellcheck source=scripts/signed.sh
. "$(dirname "$(readlink --canonicalize "$0")")/signed.sh"

base="${WLK_PREFIX:-/opt/wlk}/current"
to="new.bundle"
options=()
while [ $# -gt 0 ]; do
    case "$1" in
        --base) value_of "$1" $# && base="$2" && shift ;;
        --to) value_of "$1" $# && to="$2" && shift ;;
        --allow-downgrade) options+=("$1") ;;
        *) take_option "$@" && shift $((taken - 1)) ;;
    esac
    shift
done
[ ! -e "$to" ] || die "$to is there already" "--to names another folder"
[ -f "$base/CONTENTS" ] || die "no bundle in $base" "--base names the one that this site has"
to="$(readlink --canonicalize-missing "$to")"
base="$(readlink --canonicalize "$base")"
enter_folder
partial="$to.partial"
work="$(mktemp -d)"
trap 'rm -rf "$work" "$partial"' EXIT
require_signed DELTA

declare -A fact=()
pieces=()
kept=()
number=0
while IFS= read -r row; do
    number=$((number + 1))
    if [ "$number" = 1 ]; then
        [ "$row" = "wlk-delta 1" ] || die "this delta is of another kind: $row" "use the apply.sh that came with it"
    elif [[ "$row" =~ ^(version|base|archive|new)\ ($word)$ ]]; then
        fact["${BASH_REMATCH[1]}"]="${BASH_REMATCH[2]}"
    elif [[ "$row" =~ ^piece\ (new\ [0-9]+|old\ [0-9]+\ [0-9]+)$ ]]; then
        pieces+=("${BASH_REMATCH[1]}")
    elif [[ "$row" =~ ^keep\ ($word(/$word)*)$ ]]; then
        kept+=("${BASH_REMATCH[1]}")
    else
        is_file_row "$row" || die "DELTA, line $number is malformed: $row" "get the delta again"
    fi
done <"$work/list"
check_files DELTA

[ "$(sum_of "$base/CONTENTS")" = "${fact[base]}" ] ||
    die "this delta is made for another bundle than $base" "ask for one made with --since $base/CONTENTS, or for the whole bundle"

# Unpack $1 into $2 with the program that its name asks for.
unpack() {
    case "$1" in
        *.zst) command -v zstd >/dev/null || die "no zstd here, and $1 needs it" "apt-get install zstd, or ask for a whole bundle" ;;
    esac
    case "$1" in
        *.zst) zstd --quiet --decompress --stdout "$1" ;;
        *.gz) gzip --decompress --stdout "$1" ;;
        *) die "don't know how to unpack $1" "get the delta again" ;;
    esac >"$2" || die "can't unpack $1" "is it whole, and is there room on the disk? df -h $(dirname "$2")"
}

rm -rf "$partial"
{ mkdir -p "$(dirname "$to")" && mkdir "$partial"; } || die "can't write to $(dirname "$to")" "--to names another folder"
cp --recursive full/. "$partial"
# The copy is what was signed, and nothing else, before any of it is run: the stick may have changed meanwhile.
shopt -s dotglob globstar
for file in "$partial"/**; do
    if [ ! -L "$file" ] && [ -d "$file" ]; then continue; fi
    name="full/${file#"$partial"/}"
    if [ -L "$file" ] || [ "$(sum_of "$file")" != "${digest["$name"]:-}" ]; then
        die "the copy of $name is not what was checked" "is the stick, or this disk, failing?"
    fi
done
for file in "${kept[@]}"; do
    mkdir -p "$partial/$(dirname "$file")"
    cp "$base/$file" "$partial/$file" || die "$base lacks $file" "the installed bundle is damaged: get the whole new one"
done
old="$base/image.tar"
if [ ! -f "$old" ]; then
    old="$partial/.old"
    unpack "$base/${fact[archive]}" "$old"
fi
unpack "${fact[new]}" "$partial/.new"
at=0
for piece in "${pieces[@]}"; do
    read -r kind first second <<<"$piece"
    if [ "$kind" = new ]; then
        from="$partial/.new" offset="$at" length="$first"
        at=$((at + first))
    else
        from="$old" offset="$first" length="$second"
    fi
    dd if="$from" iflag=skip_bytes,count_bytes,fullblock bs=1M skip="$offset" count="$length" status=none >>"$partial/image.tar" ||
        die "can't write $partial/image.tar" "is there room on the disk? df -h $(dirname "$to")"
done
rm -f "$partial/.old" "$partial/.new"
bash "$partial/verify.sh" --key "$work/key" "${options[@]}" "$partial" >&2 ||
    die "what came out is not the bundle that was signed" "the installed bundle may be damaged: get the whole new one"
mv "$partial" "$to"
echo "whole: $to"
