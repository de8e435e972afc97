#!/usr/bin/env bash
# What harden-check.sh sees over the network: TLS, headers, who may come in. Sourced by it.
# shellcheck disable=SC2034,SC2154

# Everything but what forgets its keys and can't be changed on the way.
WEAK='ALL:COMPLEMENTOFALL:-ECDHE+AESGCM:-ECDHE+CHACHA20:-DHE+AESGCM:-DHE+CHACHA20:@SECLEVEL=0'

# Set $cipher to what is agreed on, or to nothing: shake_hands WORDS...
shake_hands() {
    local address="${url#*://}"
    [[ "$address" =~ :[0-9]+$ ]] || address="$address:443"
    said="$(bounded openssl s_client -connect "$address" "$@" 2>&1)"
    cipher="$(sed --quiet 's/^New, .*, Cipher is \([A-Z0-9_-]*\)$/\1/p' <<<"$said" | head -n 1)"
}

check_tls() {
    local version said cipher
    if [[ "$url" = http://* ]]; then
        error tls "it serves without TLS: whoever is on the network reads and hears all" "remove WLK_TLS=false, unless only a proxy on this machine reaches it"
        return
    fi
    if ! command -v openssl >/dev/null; then
        warning tls "not looked at: no openssl" "apt-get install openssl"
        return
    fi
    for version in tls1 tls1_1; do
        shake_hands "-$version" -cipher 'ALL:@SECLEVEL=0'
        if [ -n "$cipher" ]; then
            error "$version" "it speaks this old version" "is there a proxy in front? TLS 1.2 and 1.3 only"
        elif [[ "$said" =~ no\ protocols\ available|[Uu]nknown\ option|unsupported\ protocol.*ssl_choose_client ]]; then
            warning "$version" "not looked at: the openssl of this machine can't speak it"
        elif [[ "$said" = *CONNECTED* ]]; then
            ok "$version" "refused"
        else
            error "$version" "no connection: $(last_line "$said")" "does it serve? systemctl status wlk"
            return
        fi
    done
    for version in tls1_2 tls1_3; do
        shake_hands "-$version"
        if [ -n "$cipher" ]; then ok "$version" "$cipher"; else warning "$version" "not spoken"; fi
    done
    shake_hands -tls1_2 -cipher "$WEAK"
    if [ -n "$cipher" ]; then
        error ciphers "it agrees to $cipher" "is there a proxy in front? ECDHE with AES-GCM or ChaCha20 only"
    else
        ok ciphers "no other than ECDHE or DHE with AES-GCM or ChaCha20"
    fi
    shake_hands
    if bounded_stdin "$said" openssl x509 -noout -checkend 0 >/dev/null 2>&1; then
        ok certificate "valid until $(bounded_stdin "$said" openssl x509 -noout -enddate | sed 's/.*=//')"
    else
        error certificate "it has expired, or there is none" "systemctl start wlk-cert"
    fi
}

bounded_stdin() {
    local text="$1"
    shift
    timeout --kill-after=2 "$LIMIT" "$@" <<<"$text"
}

# The head of an answer, its status first: head_of PATH [HEADER]
head_of() {
    if command -v curl >/dev/null; then
        bounded curl --silent --insecure --noproxy '*' --dump-header - --output /dev/null ${2:+--header "$2"} "$url$1"
    else
        bounded wget --quiet --no-proxy --no-check-certificate --server-response --output-document=/dev/null --tries=1 \
            ${2:+--header="$2"} "$url$1" 2>&1 | sed 's/^  //'
    fi | tr -d '\r'
}

status_of() { sed --quiet '1s/^HTTP[^ ]* \([0-9]*\).*/\1/p' <<<"$1"; }
header_of() { sed --quiet "s/^$2: //Ip" <<<"$1" | head -n 1; }

# Whether a policy lets the page have what is its own, and nothing else.
is_narrow() {
    local directive allowed
    while read -r directive allowed; do
        case "$allowed" in "" | "'none'" | "'self'") ;; *) return 1 ;; esac
    done < <(tr ';' '\n' <<<"$1")
    [[ "$1" = *"default-src 'none'"* && "$1" = *"frame-ancestors 'none'"* ]]
}

check_headers() {
    local head policy row
    if ! command -v curl >/dev/null && ! command -v wget >/dev/null; then
        warning headers "not looked at: neither curl nor wget" "apt-get install curl"
        return
    fi
    head="$(head_of /)"
    if [ -z "$(status_of "$head")" ]; then
        error headers "no answer" "does it serve? systemctl status wlk"
        return
    fi
    policy="$(header_of "$head" content-security-policy)"
    if ! is_narrow "$policy"; then
        error "content policy" "the page may load or run more than its own: ${policy:-no policy}" "is there a proxy in front that changes headers?"
    else
        ok "content policy" "nothing but the page's own; in no frame"
    fi
    for row in "x-content-type-options=nosniff" "referrer-policy=no-referrer" "cross-origin-opener-policy=same-origin" \
        "cross-origin-resource-policy=same-origin"; do
        if [ "$(header_of "$head" "${row%%=*}")" = "${row#*=}" ]; then
            ok "${row%%=*}" "${row#*=}"
        else
            error "${row%%=*}" "'$(header_of "$head" "${row%%=*}")', not ${row#*=}" "is there a proxy in front that changes headers?"
        fi
    done
    case "$(header_of "$head" permissions-policy)" in
        *"microphone=(self)"*"camera=()"*) ok permissions-policy "the microphone for its own page, no camera, no place" ;;
        *) error permissions-policy "'$(header_of "$head" permissions-policy)'" "is there a proxy in front that changes headers?" ;;
    esac
}

# Whoever is let in without a token, and web pages of others.
check_guests() {
    local status
    command -v curl >/dev/null || command -v wget >/dev/null || return 0
    status="$(status_of "$(head_of /v1/models)")"
    case "$status" in
        401) ok tokens "nobody without one" ;;
        200) warning tokens "anyone who reaches the port may use it" "lines of NAME: TOKEN in $CONFIG/tokens, then: systemctl restart wlk" ;;
        *) warning tokens "not known: status ${status:-none} at /v1/models" "does it serve? systemctl status wlk" ;;
    esac
    status="$(status_of "$(head_of /v1/models "Origin: https://elsewhere.example")")"
    case "$status" in
        403) ok origins "no web page but those that are allowed" ;;
        200 | 401) warning origins "pages of any site may connect, from the browser of whoever reaches it" "WLK_ALLOWED_ORIGINS=same in $CONFIG/wlk.env" ;;
        *) warning origins "not known: status ${status:-none}" ;;
    esac
}
