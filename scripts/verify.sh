#!/usr/bin/env bash
# Check a bundle before anything of it is used: its signature, then every file. Needs bash, coreutils and openssl 3,
# and nothing else.
set -euo pipefail
shopt -s dotglob globstar nullglob
export LC_ALL=C

usage() {
    cat <<'END'
usage: verify.sh [OPTIONS] [FOLDER]

Check that a bundle is, to the last byte, what was signed. FOLDER is where this script lies, unless given.

  --key FILE           the public key of who made the bundle (/etc/wlk/bundle-key.pem, where it is)
  --trust FINGERPRINT  take the key in the bundle, if this is its fingerprint: 64 digits, or the first 32 at least
  --allow-downgrade    also where a newer version is installed
  -h, --help           show this

It ends with 0 where all is well, with 1 where something is not, and says what.
END
}

# shellcheck source=scripts/signed.sh
. "$(dirname "$(readlink --canonicalize "$0")")/signed.sh"

key=""
trust=""
downgrade=0
folder=""
while [ $# -gt 0 ]; do
    case "$1" in
        -h | --help) usage && exit 0 ;;
        --key) value_of "$1" $# && key="$(readlink --canonicalize "$2")" && shift ;;
        --trust) value_of "$1" $# && trust="$2" && shift ;;
        --allow-downgrade) downgrade=1 ;;
        -*) misused "unknown option: $1" ;;
        *)
            [ -z "$folder" ] || misused "one folder only: $folder or $1?"
            folder="$1"
            ;;
    esac
    shift
done
[ -n "$folder" ] || folder="$(dirname "$0")"
cd "$folder" 2>/dev/null || die "no folder $folder" "name the bundle's folder"
installed="${WLK_PREFIX:-/opt/wlk}/current/CONTENTS"

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
require_signed CONTENTS

# From here on the list can be trusted; it is still read to the letter.
declare -A size=() digest=() fact=()
number=0
word='[A-Za-z0-9_][A-Za-z0-9._+-]*'
while IFS= read -r row; do
    number=$((number + 1))
    if [ "$number" = 1 ]; then
        [ "$row" = "wlk-bundle 1" ] || die "this bundle is of another kind: $row" "use the verify.sh that came with it"
    elif [[ "$row" =~ ^file\ ([0-9a-f]{64})\ ([0-9]+)\ ($word(/$word)*)$ ]]; then
        digest["${BASH_REMATCH[3]}"]="${BASH_REMATCH[1]}"
        size["${BASH_REMATCH[3]}"]="${BASH_REMATCH[2]}"
    elif [[ "$row" =~ ^(version|target|models|architecture|image|archive|tar|tag)\ ([A-Za-z0-9._+:/\ -]+)$ ]]; then
        fact["${BASH_REMATCH[1]}"]="${BASH_REMATCH[2]}"
    else
        die "CONTENTS, line $number is malformed: $row" "get the bundle again"
    fi
done <"$work/list"
for name in version architecture archive; do
    [ -n "${fact[$name]:-}" ] || die "CONTENTS does not tell $name" "get the bundle again"
done

problems=0
problem() {
    echo "  $1" >&2
    problems=$((problems + 1))
}

plain=()
for file in **; do
    if [ -z "${size[$file]:-}" ]; then
        if [ ! -L "$file" ] && [ -d "$file" ]; then continue; fi
        case "$file" in CONTENTS | CONTENTS.sig) ;; *) problem "$(printf %q "$file"): not in the list" ;; esac
    elif [ -L "$file" ] || [ ! -f "$file" ]; then
        problem "$file: no plain file"
        unset "size[$file]"
    else
        plain+=("$file")
    fi
done
whole=()
while read -r seen file; do
    if [ "$seen" = "${size[$file]}" ]; then
        whole+=("$file")
    else
        problem "$file: $seen bytes instead of ${size[$file]}"
    fi
    unset "size[$file]"
done < <([ "${#plain[@]}" = 0 ] || stat --format '%s %n' -- "${plain[@]}")
for file in "${!size[@]}"; do
    problem "$file: missing"
done
unread="${#whole[@]}"
while read -r seen file; do
    file="${file#\*}"
    [ "$seen" = "${digest[$file]}" ] || problem "$file: its content has changed"
    unread=$((unread - 1))
done < <([ "${#whole[@]}" = 0 ] || openssl dgst -sha256 -r "${whole[@]}")
[ "$unread" = 0 ] || problem "$unread files can't be read"
[ "$problems" = 0 ] || die "$PWD is not as it was signed" "copy it again from where it came from; use nothing of it"

case "$(uname -m)" in x86_64) machine=amd64 ;; aarch64) machine=arm64 ;; *) machine="$(uname -m)" ;; esac
[ "${fact[architecture]}" = "$machine" ] ||
    die "the bundle is for ${fact[architecture]}, this machine is $machine" "ask for a bundle for $machine"
if [ -f "$installed" ] && [ "$downgrade" = 0 ]; then
    present=0
    while read -r name rest; do
        [ "$name" != version ] || present="$rest"
    done <"$installed"
    newest="$(printf '%s\n' "$present" "${fact[version]}" | sort --version-sort | tail -n 1)"
    [ "$newest" = "${fact[version]}" ] ||
        die "the bundle holds version ${fact[version]}, and $present is installed" "--allow-downgrade takes it nevertheless"
fi
echo "good: ${fact[target]:-} with ${fact[models]:-}, version ${fact[version]}, for $machine; ${#digest[@]} files, signed with $signer"
