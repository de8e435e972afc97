#!/usr/bin/env bash
# What verify.sh and join.sh share: options' errors, which key is trusted, and whether a list is signed with it.
# Sourced by them; they set $key and $trust from their options, and $work, a folder of their own.
# shellcheck disable=SC2154

die() {
    echo "error: $1" >&2
    [ -z "${2:-}" ] || echo "  hint: $2" >&2
    exit 1
}

misused() {
    echo "error: $1" >&2
    echo "  hint: $(basename "$0") --help shows the options" >&2
    exit 2
}

# The word after an option, or a clear error.
value_of() {
    [ "$2" -ge 2 ] || misused "$1 needs a value"
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
    signer="$(fingerprint_of "$work/key")"
    openssl pkeyutl -verify -pubin -inkey "$work/key" -rawin -in "$work/list" -sigfile "$work/signature" >/dev/null 2>&1 ||
        die "$PWD/$1 is not signed with the key $signer" "it was changed, or signed by someone else: do not use it"
}
