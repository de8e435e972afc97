#!/usr/bin/env bash
# Pack what helps from afar: findings, versions, settings, logs. Sourced by doctor.sh, whose names it uses.
# Without secrets, without what was said, and without the addresses of who said it.
# shellcheck disable=SC2154

MOST_ROWS=2000
MOST_BYTES=2000000

pack() {
    local target="$1" folder name
    umask 077
    work="$(mktemp -d)" || return 1
    trap 'rm -rf "$work"' EXIT
    folder="$work/wlk-support"
    mkdir "$folder"
    print_text >"$folder/findings.txt"
    print_json >"$folder/findings.json"
    describe_machine >"$folder/machine.txt" 2>&1
    describe_release >"$folder/release.txt" 2>&1
    describe_certificate >"$folder/certificate.txt" 2>&1
    describe_settings >"$folder/settings.txt" 2>&1
    describe_units >"$folder/units.txt" 2>&1
    if [ -n "$program" ]; then
        describe_engine >"$folder/engine.txt" 2>&1
        for name in "" $instances; do
            name="$(container_of "$name")"
            ask inspect "$name" 2>/dev/null | without_values >"$folder/inspect-$name.json"
            # The units leave this to the journal; a container that was started without them does not.
            ask logs --tail $MOST_ROWS "$name" 2>&1 | mask_addresses >"$folder/log-$name.txt"
        done
    fi
    for name in $(our_units); do
        bounded journalctl --unit "$name" --lines $MOST_ROWS --output short-iso --no-pager 2>&1 | mask_addresses >"$folder/journal-$name.txt"
    done
    for name in "$folder"/*; do sweep "$name"; done
    explain >"$folder/README.txt"
    if ! tar --create --gzip --owner=0 --group=0 --directory "$work" --file "$work/packed" wlk-support ||
        ! cp "$work/packed" "$target"; then
        rm -f "$target"
        echo "error: can't write $target" >&2
        echo "  hint: is there room? df -h $(dirname "$target")" >&2
        return 1
    fi
    {
        echo "support bundle: $target ($(stat --format %s "$target") bytes, for its owner only)"
        sed 's/^/  /' "$folder/README.txt"
    } >&2
}

our_units() {
    local name
    echo wlk-load.service wlk-cert.service wlk-cert.timer wlk.service
    for name in $instances; do echo "wlk@$name.service"; done
}

# Bound a file, and take out of it what no one is to read: the end of it stays.
sweep() {
    local rules=() secret
    for secret in "${secrets[@]}"; do
        rules+=(-e "s/$(sed 's/[][\.*^$/]/\\&/g' <<<"$secret")/(secret)/g")
    done
    rules+=(-e 's/([?&]token=)[^& "]*/\1(secret)/g' -e 's/([Bb]earer |[Aa]uthorization: [Bb]asic )[A-Za-z0-9._~+\/=-]{8,}/\1(secret)/g'
        -e 's/:\/\/[^/@ ]*@/:\/\/(secret)@/g')
    # Secrets are taken as plain text, rules as patterns: one after the other.
    sed "${rules[@]:0:2*${#secrets[@]}}" -e '' "$1" | sed --regexp-extended "${rules[@]:2*${#secrets[@]}}" |
        tail -n $MOST_ROWS | tail -c $MOST_BYTES >"$1.swept"
    mv "$1.swept" "$1"
}

section() {
    printf '\n== %s\n' "$*"
    bounded "$@" 2>&1
}

describe_machine() {
    section uname -a
    section cat /etc/os-release
    section cat /etc/nv_tegra_release
    section date
    section uptime
    section timedatectl
    section free -m
    section df -h
    section df -i
    section nvidia-smi
    section ss --listening --tcp --numeric --processes
    section openssl version
}

describe_release() {
    section readlink "$PREFIX/current" "$PREFIX/previous"
    section ls -ln "$PREFIX" "$PREFIX/releases" "$PREFIX/current/"
    echo
    [ -z "$release" ] || sed '/^file /d' "$release/CONTENTS"
}

# Never a key.
describe_certificate() {
    local file
    section ls -lnR "$STATE"
    for file in certificate.pem ca.pem; do
        section openssl x509 -in "$STATE/tls/$file" -noout -subject -issuer -serial -dates -fingerprint -sha256 \
            -ext subjectAltName,nameConstraints,basicConstraints
    done
}

# Settings by name; the values that are nobody's business, and comments, stay here.
describe_settings() {
    local file row
    section ls -ln "$CONFIG"
    for file in "$CONFIG"/*.env; do
        [ -r "$file" ] || continue
        printf '\n== %s\n' "$file"
        while IFS= read -r row || [ -n "$row" ]; do
            row="${row%$'\r'}"
            if [[ ! "$row" =~ ^[[:space:]]*([A-Za-z0-9_]+)=(.*)$ ]]; then
                [[ "$row" =~ ^[[:space:]]*(#|$) ]] || echo "(a line that is no setting)"
            elif is_secret "${BASH_REMATCH[1]}"; then
                echo "${BASH_REMATCH[1]}=(secret)"
            else
                echo "${BASH_REMATCH[1]}=${BASH_REMATCH[2]}"
            fi
        done <"$file"
    done
}

describe_units() {
    local name
    for name in $(our_units) docker.service; do
        section systemctl show "$name" --property=Id,LoadState,ActiveState,SubState,UnitFileState,NRestarts,Result,ExecMainStatus,ActiveEnterTimestamp,FragmentPath,DropInPaths
    done
    section systemctl list-timers --all --no-pager 'wlk*'
}

# Of the engine, not who is logged in where, nor proxies and registries.
describe_engine() {
    section "$program" version
    section "$program" info | grep --invert-match --ignore-case --extended-regexp 'registr|proxy|username|auth|mirror|https?:'
    section "$program" image ls --digests
    section "$program" ps --all --no-trunc --format '{{.Names}} {{.Image}} {{.Status}}'
}

# An engine's report without the values of variables, and of options that give them.
without_values() {
    sed --regexp-extended 's/^([[:space:]]*"(--[a-z-]+=)?[A-Za-z_][A-Za-z0-9_]*)=.*"(,?)$/\1=(value)"\3/'
}

explain() {
    cat <<END
What doctor.sh packed on $(date +%F).

findings.txt, .json   what was found, and the remedies
machine.txt           system, memory, disks, clock, who listens on ports
release.txt           what is installed
settings.txt          $CONFIG/*.env; tokens, passwords, keys and the prompt are left out
certificate.txt       dates and names of the certificate and its CA, so also this machine's names and addresses; no keys
units.txt             the state of the units
journal-*, log-*.txt  the last $MOST_ROWS lines of each unit and container, $((MOST_BYTES / 1000000)) MB at most; addresses of clients are left out
engine.txt            version, images, containers; inspect-*.json: ours, without the values of variables

No recording and no transcript is in it: the server logs neither.
END
}
