#!/usr/bin/env bash
# Checks of what the device keeps: the state folder, certificate and keys. Sourced by doctor.sh.
# shellcheck disable=SC2034,SC2153,SC2154

check_state() {
    local owner mode
    if [ ! -d "$STATE" ]; then
        error state "no folder $STATE" "install -d -m 0700 -o ${OWNER%:*} -g ${OWNER#*:} $STATE; systemctl restart wlk-cert wlk"
        return
    fi
    read -r owner mode < <(stat -L --format '%u:%g %a' "$STATE")
    if [ "$owner" != "$OWNER" ]; then
        error state "$STATE belongs to $owner: the server, which runs as $OWNER, can't write there" "chown -R $OWNER $STATE"
    elif [ $((8#$mode & 8#700)) != $((8#700)) ] || [ ! -w "$STATE" ]; then
        error state "the server can't write in $STATE (mode $mode)" "chmod 0700 $STATE; is its disk mounted read-only? findmnt -T $STATE"
    elif [ $((8#$mode & 8#077)) != 0 ]; then
        warning state "others may enter $STATE (mode $mode)" "chmod 0700 $STATE"
    else
        ok state "$STATE belongs to the server, and to nobody else"
    fi
}

# Dates, names and keys of what the server shows to browsers.
check_certificate() {
    local tls="$STATE/tls" certificate key said names address foreign=0 renew="systemctl start wlk-cert.service"
    case "${WLK_TLS:-}" in 0 | false | no | off | f | n) note certificate "TLS is off: WLK_TLS=$WLK_TLS" && return ;; esac
    if [ -n "${WLK_TLS_CERT:-}${WLK_TLS_KEY:-}" ]; then
        note certificate "the site's own, inside the container: WLK_TLS_CERT=${WLK_TLS_CERT:-}"
        return
    fi
    certificate="$tls/certificate.pem" key="$tls/key.pem"
    if [ ! -e "$certificate" ]; then
        error certificate "none in $tls" "$renew"
        return
    elif ! openssl x509 -in "$certificate" -noout 2>/dev/null; then
        error certificate "$certificate can't be read as one" "rm $certificate; $renew"
        return
    fi
    [[ "$(openssl x509 -in "$certificate" -noout -issuer)" = *"wlk-appliance local CA"* ]] || foreign=1
    [ $foreign = 0 ] || renew="put a new one and its key in $tls: nothing of the site's own is replaced"
    check_dates "$certificate" "$renew"
    check_keys "$tls"
    if [ ! -s "$key" ] || [ "$(openssl x509 -in "$certificate" -noout -pubkey)" != "$(openssl pkey -in "$key" -passin pass: -pubout 2>/dev/null)" ]; then
        error "certificate key" "$key is not the key of the certificate" "$renew"
    fi
    if [ $foreign = 0 ]; then
        if said="$(bounded bash "$here/wlk_cert.sh" --dir "$STATE" --names "${WLK_TLS_NAMES:-}" --check 2>&1)"; then
            ok "certificate names" "every name and address of this machine stands in it"
        else
            warning "certificate names" "$(last_line "$said")" "$renew"
        fi
        return
    fi
    names="${WLK_TLS_NAMES:-} $(uname -n) $(bounded hostname -f 2>/dev/null) $(bounded hostname -I 2>/dev/null)"
    for address in ${names//,/ }; do
        said="-checkhost"
        [[ ! "$address" =~ ^[0-9.]+$|: ]] || said="-checkip"
        [[ "$(openssl x509 -in "$certificate" -noout $said "$address")" != *"does NOT match"* ]] || continue
        ok "certificate names" "the site's own, and it names $address"
        return
    done
    warning "certificate names" "the site's own, and no name or address of this machine stands in it: ${names//,/ }" "$renew"
}

check_dates() {
    local begin end
    begin="$(date -d "$(openssl x509 -in "$1" -noout -startdate | sed 's/.*=//')" +%s)"
    end="$(date -d "$(openssl x509 -in "$1" -noout -enddate | sed 's/.*=//')" +%s)"
    if [ "$(date +%s)" -lt "$begin" ]; then
        error certificate "valid only from $(date -d "@$begin" +%F) on: most likely the clock is late" "timedatectl set-ntp false; timedatectl set-time 'YYYY-MM-DD HH:MM:SS'"
    elif [ "$(date +%s)" -ge "$end" ]; then
        error certificate "expired on $(date -d "@$end" +%F)" "$2"
    elif [ "$(date +%s)" -ge $((end - 30 * DAY)) ]; then
        warning certificate "expires on $(date -d "@$end" +%F), and was not renewed" "$2"
    else
        ok certificate "valid until $(date -d "@$end" +%F)"
    fi
}

check_keys() {
    local file owner mode
    for file in "$1/key.pem" "$1/ca-key.pem"; do
        [ -e "$file" ] || continue
        read -r owner mode < <(stat -L --format '%u:%g %a' "$file")
        if [ $((8#$mode & 8#077)) != 0 ]; then
            error "certificate key" "others may read the private key $file (mode $mode)" "chmod 0600 $(printf %q "$(readlink --canonicalize "$file")")"
        elif [ "$owner" != "$OWNER" ]; then
            error "certificate key" "$file belongs to $owner: the server, which runs as $OWNER, can't read it" "chown -R $OWNER $1"
        fi
    done
}
