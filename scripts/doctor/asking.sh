#!/usr/bin/env bash
# How the checks of doctor.sh ask: for a bounded time, and telling no secrets. Sourced by doctor.sh.
# shellcheck disable=SC2034,SC2154

LIMIT=10
bounded() { timeout --kill-after=2 "$LIMIT" "$@" </dev/null; }
program=""  # the engine that answers
kind=""     # docker or podman
ask() { bounded "$program" "$@"; }
last_line() { sed '/^[[:space:]]*$/d' <<<"$1" | tail -n 1; }
amount() { numfmt --to=si --suffix=B "$1"; }
is_number() { [[ "$1" =~ ^[0-9]{1,18}$ ]]; }

# Whether a setting of this name is told to nobody: the prompt, too, may hold names of people.
is_secret() { case "$1" in *TOKEN* | *SECRET* | *PASSWORD* | *KEY* | *PROMPT*) return 0 ;; *) return 1 ;; esac; }

find_secrets() {
    local file row value
    for file in "$CONFIG"/*.env; do
        [ -r "$file" ] || continue
        while IFS= read -r row || [ -n "$row" ]; do
            [[ "${row%$'\r'}" =~ ^[[:space:]]*([A-Za-z0-9_]+)=(.*)$ ]] || continue
            value="${BASH_REMATCH[2]}"
            is_secret "${BASH_REMATCH[1]}" || continue
            case "${BASH_REMATCH[1]}" in WLK_TLS_KEY | WLK_TOKEN_FILE) continue ;; esac # a file's name
            [[ "$value" =~ ^\"(.*)\"[[:space:]]*$ || "$value" =~ ^\'(.*)\'[[:space:]]*$ ]] && value="${BASH_REMATCH[1]}"
            [ "${#value}" -lt 4 ] || secrets+=("$value") # a shorter one stands in every other word
        done <"$file"
    done
    find_tokens
}

# Those with names, in the files that service.sh takes them from: NAME: TOKEN, or NAME TOKEN.
find_tokens() {
    local file row
    while IFS= read -r file; do
        [ -f "$file" ] && [ -r "$file" ] || continue
        while IFS= read -r row || [ -n "$row" ]; do
            [[ ! "${row%$'\r'}" =~ ^[[:space:]]*[A-Za-z0-9._-]+(:[[:space:]]*|[[:space:]]+)([^[:space:]]{4,})[[:space:]]*$ ]] ||
                secrets+=("${BASH_REMATCH[2]}")
        done <"$file"
    done < <(token_files)
}

token_files() {
    echo "$CONFIG/tokens"
    cat "$CONFIG"/*.env 2>/dev/null | sed --quiet --regexp-extended "s/^\s*WLK_TOKEN_FILE=[\"']?([^\"'\r]+).*/\1/p"
}

# Addresses of clients, which a log names.
mask_addresses() {
    local group='[0-9A-Fa-f]{1,4}'
    local six="(^|[^0-9A-Za-z:_])(($group:){7}$group|($group(:$group)*)?::($group(:[0-9A-Fa-f]{1,5})*)?)(\$|[^0-9A-Za-z_])"
    # The last twice: what stands between two addresses belongs to the first.
    sed --regexp-extended -e 's/\b([0-9]{1,3}\.){3}[0-9]{1,3}\b/(address)/g' -e "s/$six/\1(address)\8/g" -e "s/$six/\1(address)\8/g"
}
