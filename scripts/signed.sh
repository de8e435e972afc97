#!/usr/bin/env bash
# What verify.sh, apply.sh and join.sh share: options and their errors, which key is trusted, whether a list is signed with
# it, and whether files are as listed. Sourced by them; they set $work, a folder of their own, and have a function usage.
# shellcheck disable=SC2034,SC2154

# shellcheck source=scripts/errors.sh
. "$(dirname "${BASH_SOURCE[0]}")/errors.sh"

key=""
trust=""
folder=""

# Take the option that $1 is, where all of them have it, or the folder. Sets $taken, how many words that were.
take_option() {
    taken=1
    case "$1" in
        -h | --help) usage && exit 0 ;;
        --key) value_of "$1" $# && key="$(readlink --canonicalize-missing "$2")" && taken=2 ;;
        --trust) value_of "$1" $# && trust="$2" && taken=2 ;;
        -*) misused "unknown option: $1" ;;
        *)
            [ -z "$folder" ] || misused "one folder only: $folder or $1?"
            folder="$1"
            ;;
    esac
}

# Go where the files are: the folder that was given, or that of the script.
enter_folder() {
    [ -n "$folder" ] || folder="$(dirname "$0")"
    cd "$folder" 2>/dev/null || die "no folder $folder" "name the folder that was brought"
}

# The SHA-256 of a file.
sum_of() {
    openssl dgst -sha256 -r "$1" | cut -d ' ' -f 1
}

fingerprint_of() {
    openssl pkey -pubin -in "$1" -outform DER 2>/dev/null | openssl dgst -sha256 -r | cut -d ' ' -f 1
}

# Put the key to check with into $work/key: the one given, the one this machine trusts, or that of the folder we are in,
# where its fingerprint was given.
choose_key() {
    local known="${WLK_CONFIG:-/etc/wlk}/bundle-key.pem" seen
    if [ -n "$trust" ]; then
        [ -z "$key" ] || misused "--key or --trust, not both"
        trust="$(echo "$trust" | tr -d ' :' | tr '[:upper:]' '[:lower:]')"
        case "$trust" in *[!0-9a-f]*) misused "not a fingerprint: $trust" ;; esac
        [ "${#trust}" -ge 32 ] || misused "a fingerprint has 64 digits; give 32 of them at least"
        if [ -L key.pem ] || [ ! -f key.pem ]; then die "no key.pem in $PWD" "give the key: --key FILE"; fi
        head -c 10000 key.pem >"$work/key"
        seen="$(fingerprint_of "$work/key")"
        [[ "$seen" = "$trust"* ]] ||
            die "key.pem has another fingerprint: $seen" "it was signed by someone else: do not use it"
    elif [ -n "$key" ] || [ -f "$known" ]; then
        [ -n "$key" ] || key="$known"
        [ -f "$key" ] || die "no key $key" "the public key of who made the bundle, NAME.pub"
        cat "$key" >"$work/key"
    else
        seen="FINGERPRINT"
        [ ! -f key.pem ] || seen="$(fingerprint_of key.pem)"
        die "there is no key here to check with" \
            "compare this fingerprint with what the maker of the bundle told you, and then: --trust $seen"
    fi
}

# Check that a list in the folder we are in is signed, and take what was checked as $work/list: the stick may change
# meanwhile. Sets $signer, the fingerprint of the key.
require_signed() {
    local file
    command -v openssl >/dev/null || die "no openssl here" "install it: apt-get install openssl"
    [[ "$(openssl pkeyutl -help 2>&1)" = *-rawin* ]] ||
        die "openssl is too old to check a signature: $(openssl version)" "version 3 or newer"
    for file in "$1" "$1.sig"; do
        if [ -L "$file" ] || [ ! -f "$file" ]; then die "no $file in $PWD" "is it all there?"; fi
    done
    head -c 10000000 "$1" >"$work/list"
    head -c 1000 "$1.sig" >"$work/signature"
    choose_key
    openssl pkey -pubin -in "$work/key" -noout 2>/dev/null || die "what was given is no public key" "NAME.pub, as its maker gave it out"
    signer="$(fingerprint_of "$work/key")"
    openssl pkeyutl -verify -pubin -inkey "$work/key" -rawin -in "$work/list" -sigfile "$work/signature" >/dev/null 2>&1 ||
        die "$PWD/$1 is not signed with the key $signer" "it was changed, or signed by someone else: do not use it"
}

# A file's or folder's name, as lists may hold it.
word='[A-Za-z0-9_][A-Za-z0-9._+@-]*'
# What is listed and not checked yet: size and SHA-256 by path.
declare -A size=() digest=()

# Take a row such as `file SHA256 SIZE PATH`; false where it is another.
is_file_row() {
    [[ "$1" =~ ^file\ ([0-9a-f]{64})\ ([0-9]+)\ ($word(/$word)*)$ ]] || return 1
    digest["${BASH_REMATCH[3]}"]="${BASH_REMATCH[1]}"
    size["${BASH_REMATCH[3]}"]="${BASH_REMATCH[2]}"
}

# Check that the folder we are in holds the listed files, LIST and LIST.sig, and nothing else; tells all that is wrong.
# Sets $checked, how many there are.
check_files() {
    local list="$1" file seen unread problems=() plain=() whole=()
    shopt -s dotglob globstar nullglob
    for file in **; do
        if [ -z "${size[$file]:-}" ]; then
            if [ ! -L "$file" ] && [ -d "$file" ]; then continue; fi
            case "$file" in "$list" | "$list.sig") ;; *) problems+=("$(printf %q "$file"): not in the list") ;; esac
        elif [ -L "$file" ] || [ ! -f "$file" ]; then
            problems+=("$file: no plain file")
            unset "size[$file]"
        else
            plain+=("$file")
        fi
    done
    while read -r seen file; do
        if [ "$seen" = "${size[$file]}" ]; then
            whole+=("$file")
        else
            problems+=("$file: $seen bytes instead of ${size[$file]}")
        fi
        unset "size[$file]"
    done < <([ "${#plain[@]}" = 0 ] || stat --format '%s %n' -- "${plain[@]}")
    for file in "${!size[@]}"; do
        problems+=("$file: missing")
    done
    checked="${#whole[@]}"
    unread="$checked"
    while read -r seen file; do
        file="${file#\*}"
        [ "$seen" = "${digest[$file]}" ] || problems+=("$file: its content has changed")
        unread=$((unread - 1))
    done < <([ "${#whole[@]}" = 0 ] || openssl dgst -sha256 -r "${whole[@]}")
    [ "$unread" = 0 ] || problems+=("$unread files can't be read")
    [ "${#problems[@]}" != 0 ] || return 0
    printf '  %s\n' "${problems[@]}" >&2
    die "$PWD is not as it was signed" "copy it again from where it came from; use nothing of it"
}
