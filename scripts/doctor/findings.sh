#!/usr/bin/env bash
# What the checks of doctor.sh find, and how it is told. Sourced by doctor.sh.
# shellcheck disable=SC2034,SC2154

severities=()
checks=()
seens=()
remedies=()
secrets=() # values that are told to nobody

# A line for people and for JSON: what is neither ASCII nor sound UTF-8 becomes a question mark. Sets $cleaned.
clean() {
    local rest="$1" secret
    local plain='^[ -~]+' wide=$'^(\xc2[\xa0-\xbf]|[\xc3-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|\xed[\x80-\x9f][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf][\x80-\xbf]|\xf0[\x90-\xbf][\x80-\xbf][\x80-\xbf]|[\xf1-\xf3][\x80-\xbf][\x80-\xbf][\x80-\xbf]|\xf4[\x80-\x8f][\x80-\xbf][\x80-\xbf])+'
    for secret in "${secrets[@]}"; do rest="${rest//"$secret"/(secret)}"; done
    rest="${rest:0:MOST_SHOWN}"
    rest="${rest//[$'\t\r\n']/ }"
    cleaned=""
    while [ -n "$rest" ]; do
        if [[ $rest =~ $plain || $rest =~ $wide ]]; then
            cleaned+="${BASH_REMATCH[0]}"
            rest="${rest:${#BASH_REMATCH[0]}}"
        else
            cleaned+="?"
            rest="${rest:1}"
        fi
    done
}

# SEVERITY CHECK SEEN [REMEDY]
finding() {
    severities+=("$1") checks+=("$2")
    clean "$3" && seens+=("$cleaned")
    clean "${4:-}" && remedies+=("$cleaned")
}
ok() { finding ok "$@"; }
note() { finding note "$@"; }
warning() { finding warning "$@"; }
error() { finding error "$@"; }

# How bad the worst is; also how many findings there are of a severity.
count() {
    local severity number=0
    for severity in "${severities[@]}"; do [ "$severity" != "$1" ] || number=$((number + 1)); done
    echo "$number"
}

worst() {
    local severity
    for severity in error warning note; do
        [ "$(count $severity)" = 0 ] || { echo "$severity" && return; }
    done
    echo ok
}

print_text() {
    local number width=0
    for number in "${!checks[@]}"; do [ "${#checks[number]}" -le "$width" ] || width="${#checks[number]}"; done
    for number in "${!checks[@]}"; do
        printf '%-8s %-*s  %s\n' "${severities[number]}" "$width" "${checks[number]}" "${seens[number]}"
        [ -z "${remedies[number]}" ] || printf '%-8s %-*s  -> %s\n' "" "$width" "" "${remedies[number]}"
    done
    printf '\n%s error, %s warning, %s note, %s ok\n' "$(count error)" "$(count warning)" "$(count note)" "$(count ok)"
}

# Of a line that was cleaned.
quoted() {
    local text="${1//\\/\\\\}"
    printf '"%s"' "${text//\"/\\\"}"
}

print_json() {
    local number
    printf '{"worst": "%s", "findings": [' "$(worst)"
    for number in "${!checks[@]}"; do
        [ "$number" = 0 ] || printf ','
        printf '\n  {"check": %s, "severity": "%s", "seen": %s, "remedy": %s}' "$(quoted "${checks[number]}")" \
            "${severities[number]}" "$(quoted "${seens[number]}")" "$(quoted "${remedies[number]}")"
    done
    printf '\n]}\n'
}
