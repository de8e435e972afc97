#!/usr/bin/env bash
# What harden-check.sh looks at on this machine around the container: files, processes, ports, units. Sourced by it.
# shellcheck disable=SC2034,SC2154

MOST_EXPOSED=20 # tenths, of systemd-analyze security

# Whether only its owner may have a file: private CHECK FILE
private() {
    local mode
    mode="$(stat -L --format %a "$2" 2>/dev/null)" || return 0
    if [ $((8#$mode & 8#077)) = 0 ]; then
        ok "$1" "$2 is its owner's alone"
    else
        error "$1" "others may read $2 (mode $mode)" "chmod go= $2"
    fi
}

check_files() {
    local file open
    for file in "$CONFIG"/*.env; do [ ! -e "$file" ] || private settings "$file"; done
    while IFS= read -r file; do [ ! -e "$file" ] || private "tokens file" "$file"; done < <(token_files | sort --unique)
    [ ! -d "$STATE" ] || private state "$STATE"
    for file in "$STATE"/tls/key.pem "$STATE"/tls/ca-key.pem; do [ ! -e "$file" ] || private "private key" "$file"; done
    if [ -d "$PREFIX" ]; then
        open="$(find "$PREFIX/" "$CONFIG/" "$UNITS"/wlk* -perm /022 ! -type l 2>/dev/null | head -n 1)"
        if [ -z "$open" ]; then ok programs "none but root may change $PREFIX"; else error programs "others may change $open" "chmod -R go-w $PREFIX $CONFIG"; fi
    fi
}

# No secret among the words of a process, and who else listens here.
check_processes() {
    local file words secret found=""
    for file in /proc/[0-9]*/cmdline; do
        { words="$(tr '\0' ' ' <"$file")"; } 2>/dev/null || continue
        for secret in "${secrets[@]}"; do [[ "$words" != *"$secret"* ]] || found+=" ${file//[!0-9]/}"; done
    done
    if [ -n "$found" ]; then
        error "process list" "a secret stands among the words of process$found" "hand it over in a file or a variable"
    else
        ok "process list" "no secret in it"
    fi
    command -v ss >/dev/null || return 0
    ok "other ports" "this machine listens at: $(bounded ss --no-header --tcp --listening --numeric 2>/dev/null |
        sed --regexp-extended 's/ +/ /g' | cut -d ' ' -f 4 | grep --invert-match --extended-regexp '^(127\.|\[::1\])' |
        sed 's/.*://' | sort --numeric-sort --unique | tr '\n' ' ')"
}

check_units() {
    local unit told score
    for unit in "wlk${instance:+@$instance}.service" wlk-load.service wlk-cert.service; do
        told="$(bounded systemd-analyze --no-pager security "$unit" 2>/dev/null | sed --quiet --regexp-extended 's/.*exposure level for [^:]*: ([0-9]+)\.([0-9]).*/\1\2/p')"
        score=$((10#${told:-0}))
        if [ -z "$told" ]; then
            warning "$unit" "not looked at: systemd does not tell" "systemctl status $unit"
        elif [ "$score" -le "$MOST_EXPOSED" ]; then
            ok "$unit" "exposure $((score / 10)).$((score % 10)) of 10"
        elif [ -e "$QUADLETS/wlk.container" ] && [ "$unit" = wlk.service ]; then
            warning "$unit" "exposure $((score / 10)).$((score % 10)) of 10: made by Quadlet, it is Podman itself, with root's powers" "docs/install.md of this release, With Podman"
        else
            error "$unit" "exposure $((score / 10)).$((score % 10)) of 10" "what loosens it? systemctl cat $unit"
        fi
    done
}
