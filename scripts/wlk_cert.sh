#!/usr/bin/env bash
# Make and renew the server's certificate under a local CA of this device. Needs bash, coreutils and openssl 3.
# `wlk-appliance cert` does the same; each goes on with what the other made (appliance/server/authority.py).
set -euo pipefail
umask 077
export LC_ALL=C

usage() {
    cat <<'END'
usage: wlk_cert.sh [OPTIONS]

Make the server's certificate, or renew it, if that is due: 30 days before its end, or when names or addresses
of this device were added. Says in one line what it did and why, and nothing if nothing was to do.

  --dir DIR            the server's state folder; the files are in DIR/tls
                       (WLK_STATE_DIR, STATE_DIRECTORY, or ~/.local/state/wlk-appliance)
  --names A,B          more names and addresses by which browsers reach the server (WLK_TLS_NAMES)
  --owner UID:GID      who runs the server, and so must read the key: 10001:10001 for the container;
                       the folder's owner where it is not given
  --check              change nothing: status 1 and one line if a certificate is due, else 0
  --fingerprint        print the SHA-256 fingerprint of the CA, to compare with what a browser shows
  -h, --help           show this

A certificate of the site's own, in WLK_TLS_CERT and WLK_TLS_KEY or in the place of ours, is left as it is.
Status: 0 done, or nothing to do; 1 failed, or due with --check; 2 wrong usage.
END
}

die() {
    echo "error: $1" >&2
    [ -z "${2:-}" ] || echo "  hint: $2" >&2
    exit 1
}

misused() {
    echo "error: $1" >&2
    echo "  hint: ${2:-wlk_cert.sh --help shows the options}" >&2
    exit 2
}

# The word after an option, or a clear error.
value_of() {
    [ "$2" -ge 2 ] || misused "$1 needs a value"
}

words=("$@")
dir="${WLK_STATE_DIR:-${STATE_DIRECTORY:+${STATE_DIRECTORY%%:*}}}"
dir="${dir:-${XDG_STATE_HOME:-${HOME:-/}/.local/state}/wlk-appliance}"
given="${WLK_TLS_NAMES:-}"
owner=""
what="make"
while [ $# -gt 0 ]; do
    case "$1" in
        -h | --help) usage && exit 0 ;;
        --dir) value_of "$1" $# && dir="$2" && shift ;;
        --names) value_of "$1" $# && given="$2" && shift ;;
        --owner) value_of "$1" $# && owner="$2" && shift ;;
        --check) what=check ;;
        --fingerprint) what=fingerprint ;;
        *) misused "unknown option: $1" ;;
    esac
    shift
done
[ -n "$dir" ] || misused "--dir is empty" "name the server's state folder"
[ -z "$owner" ] || [[ $owner =~ ^[0-9]+:[0-9]+$ ]] || misused "--owner is no UID:GID: $owner" "for example: --owner 10001:10001"

AUTHORITY="wlk-appliance local CA"
SELF_SIGNED="wlk-appliance self-signed" # by earlier versions
AUTHORITY_DAYS=3650
LEAF_DAYS=397
AUTHORITY_RENEW_DAYS=60
RENEW_DAYS=30
MOST_KEPT=100
DAY=86400
FILES=(ca.pem ca-key.pem certificate.pem key.pem)
PRIVATE=(10.0.0.0/255.0.0.0 172.16.0.0/255.240.0.0 192.168.0.0/255.255.0.0 169.254.0.0/255.255.0.0 127.0.0.0/255.0.0.0
    0:0:0:0:0:0:0:1/FFFF:FFFF:FFFF:FFFF:FFFF:FFFF:FFFF:FFFF
    FC00:0:0:0:0:0:0:0/FE00:0:0:0:0:0:0:0 FE80:0:0:0:0:0:0:0/FFC0:0:0:0:0:0:0:0)

# ---- names and addresses; addresses as openssl writes them

is_name() {
    [[ $1 =~ ^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$ ]]
}

# What may be asked for: also the underscores that some networks use.
is_given_name() {
    [[ $1 =~ ^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*$ ]] && [ ${#1} -le 253 ]
}

is_ipv4() {
    local byte='(0|[1-9][0-9]?|1[0-9][0-9]|2[0-4][0-9]|25[0-5])'
    [[ $1 =~ ^$byte\.$byte\.$byte\.$byte$ ]]
}

# All eight groups of an IPv6 address, without leading zeros; fails if it is none.
ipv6() {
    local text="${1,,}" group missing head=() tail=() all=()
    [[ $text =~ ^[0-9a-f:]+$ && $text == *:*:* && $text != *:::* && $text != *::*::* ]] || return 1
    if [[ $text =~ ^:[^:] || $text =~ [^:]:$ ]]; then return 1; fi
    if [[ $text == *::* ]]; then
        IFS=: read -r -a head <<<"${text%%::*}"
        IFS=: read -r -a tail <<<"${text#*::}"
        missing=$((8 - ${#head[@]} - ${#tail[@]}))
        [ "$missing" -ge 1 ] || return 1
        all=("${head[@]}")
        for ((; missing > 0; missing--)); do all+=(0); done
        all+=("${tail[@]}")
    else
        IFS=: read -r -a all <<<"$text"
    fi
    [ ${#all[@]} = 8 ] || return 1
    for group in "${all[@]}"; do
        [[ $group =~ ^[0-9a-f]{1,4}$ ]] || return 1
    done
    printf '%X:%X:%X:%X:%X:%X:%X:%X\n' "${all[@]/#/0x}"
}

is_private() {
    if [[ $1 =~ ^(10|127|192\.168|169\.254|172\.(1[6-9]|2[0-9]|3[01]))\. || $1 = 0:0:0:0:0:0:0:1 ]]; then return 0; fi
    [[ $1 == *:* ]] || return 1
    local first=$((16#${1%%:*}))
    [ $((first & 0xfe00)) = $((0xfc00)) ] || [ $((first & 0xffc0)) = $((0xfe80)) ]
}

# The constraint that permits a public address: of IPv6 all of its link, for the rest changes.
network_of() {
    local group
    if [[ $1 == *:* ]]; then
        IFS=: read -r -a group <<<"$1"
        echo "${group[0]}:${group[1]}:${group[2]}:${group[3]}:0:0:0:0/FFFF:FFFF:FFFF:FFFF:0:0:0:0"
    else
        echo "$1/255.255.255.255"
    fi
}

# An engine gives a container such a name, for as long as that lives.
is_passing() {
    [[ $1 =~ ^[0-9a-f]{12}(\.local)?$ ]]
}

# Whether the first word is among the others.
among() {
    local word wanted="$1"
    shift
    for word in "$@"; do
        [ "$word" != "$wanted" ] || return 0
    done
    return 1
}

names=() # DNS:name and IP:address: of this device, and asked for
asked=() # asked for alone

add_name() { among "$1" "${names[@]}" || names+=("$1"); }

own_names() {
    local own word line parts
    own="$(uname -n)"
    own="${own,,}"
    add_name DNS:localhost
    ! is_name "$own" || add_name "DNS:$own"
    if is_name "$own" && [[ $own != *.* ]]; then add_name "DNS:$own.local"; fi
    [ -r /etc/hosts ] || return 0
    while read -r line || [ -n "$line" ]; do
        line="${line%%#*}"
        read -r -a parts <<<"${line,,}"
        among "$own" "${parts[@]:1}" || continue
        for word in "${parts[@]:1}"; do
            ! is_name "$word" || add_name "DNS:$word"
        done
    done </etc/hosts
}

own_addresses() {
    local parts last="" hex flags
    add_name IP:127.0.0.1
    add_name IP:0:0:0:0:0:0:0:1
    if [ -r /proc/self/net/fib_trie ]; then
        while read -r -a parts; do
            [ "${parts[0]:-}" != "|--" ] || last="${parts[1]}"
            [ "${parts[*]:0:3}" != "/32 host LOCAL" ] || add_name "IP:$last"
        done </proc/self/net/fib_trie
    fi
    if [ -r /proc/self/net/if_inet6 ]; then
        while read -r hex _ _ _ flags _; do
            # Not link-local or temporary ones: no browser can be pointed at them, or only for a day.
            if [[ $hex =~ ^fe[89ab] ]] || [ $((16#$flags & 1)) = 1 ]; then continue; fi
            add_name "IP:$(ipv6 "${hex:0:4}:${hex:4:4}:${hex:8:4}:${hex:12:4}:${hex:16:4}:${hex:20:4}:${hex:24:4}:${hex:28:4}")"
        done </proc/self/net/if_inet6
    fi
}

given_names() {
    local word address parts
    IFS=', ' read -r -a parts <<<"$given"
    for word in "${parts[@]}"; do
        [ -n "$word" ] || continue
        if is_ipv4 "$word"; then
            asked+=("IP:$word")
        elif address="$(ipv6 "$word")"; then
            asked+=("IP:$address")
        elif is_given_name "${word,,}"; then
            asked+=("DNS:${word,,}")
        elif [[ "$word" = *[![:ascii:]]* ]]; then
            echo "warning: --names: $word is left to the server, which knows how such a name is written" >&2
            continue
        else
            misused "--names: not a host name or address: $word" "give names and addresses, by commas"
        fi
        add_name "${asked[-1]}"
    done
}

# ---- what is there

is_certificate() { openssl x509 -in "$1" -noout 2>/dev/null; }

# The organisation of a certificate's subject or issuer.
organisation() {
    local line
    while read -r line; do
        [[ ! $line =~ ^organizationName\ *=\ (.*)$ ]] || echo "${BASH_REMATCH[1]}"
    done < <(openssl x509 -in "$1" -noout "-$2" -nameopt multiline,utf8)
}

# Whether a certificate is still valid in so many days.
lasts() { openssl x509 -in "$1" -noout -checkend "$(($2 * DAY))" >/dev/null; }

# When it ends.
end_of() {
    local said
    said="$(openssl x509 -in "$1" -noout -enddate)"
    date -u -d "${said#*=}" +%s
}

# Whether the key is the certificate's.
fits() {
    [ -s "$2" ] && [ "$(openssl x509 -in "$1" -noout -pubkey)" = "$(openssl pkey -in "$2" -passin pass: -pubout 2>/dev/null)" ]
}

fingerprint() {
    local said
    said="$(openssl x509 -in "$1" -noout -fingerprint -sha256)"
    echo "${said#*=}"
}

# DNS:name and IP:address, one a line, of an extension: subjectAltName or nameConstraints.
names_in() {
    local word text
    text="$(openssl x509 -in "$1" -noout -ext "$2" 2>/dev/null || true)"
    text="${text//IP Address:/IP:}"
    for word in ${text//,/ }; do
        case "$word" in DNS:?* | IP:?*) echo "$word" ;; esac
    done
}

why=""           # what must be made, and why; nothing: all is well
why_authority="" # as well a new CA
permitted=()     # what the CA there may name
leaf_names=()    # of this device, for a new certificate
kept=()          # what the certificate before named as well, so that two who ask for different names don't take turns
left_out=()
locked=0

# Whether the CA may name this.
permits() {
    local word
    if [[ $1 == IP:* ]]; then
        is_private "${1#IP:}" || among "IP:$(network_of "${1#IP:}")" "${permitted[@]}"
        return
    fi
    for word in "${permitted[@]}"; do
        if [[ $word == DNS:* && ".${1#DNS:}" == *".${word#DNS:}" ]]; then return 0; fi
    done
    return 1
}

# Not worth a new CA, which all browsers would have to trust: public addresses, a container's own name.
comes_and_goes() {
    case "$1" in
        IP:*) ! is_private "${1#IP:}" ;;
        *) is_passing "${1#DNS:}" ;;
    esac
}

# A certificate that begins in the future is no reason: mostly it is the clock that is late, as after a start
# of a machine whose clock has no battery, and what would be made then would have expired when the clock is set.
plan() {
    local name file before issuer=""
    for file in "${FILES[@]}"; do
        [ ! -e "$file" ] || [ -r "$file" ] || die "can't read $dir/tls/$file" "run this as its owner or as root"
    done
    if is_certificate certificate.pem; then
        issuer="$(organisation certificate.pem issuer)"
        if [ "$issuer" != "$AUTHORITY" ] && [ "$issuer" != "$SELF_SIGNED" ]; then
            fits certificate.pem key.pem || die "$dir/tls/key.pem is not the key of certificate.pem" "give files that belong together"
            lasts certificate.pem 0 || die "$dir/tls/certificate.pem, which is the site's own, expired" "renew it"
            return
        fi
    fi
    if [ "$issuer" = "$AUTHORITY" ]; then
        mapfile -t before < <(names_in certificate.pem subjectAltName)
        for name in "${before[@]}"; do
            if ! is_passing "${name#DNS:}" && ! among "$name" "${names[@]}"; then kept+=("$name"); fi
        done
        kept=("${kept[@]:0:MOST_KEPT}")
    fi
    why_new_authority
    for name in "${names[@]}"; do
        if [ -n "$why_authority" ] || permits "$name"; then
            leaf_names+=("$name")
        elif among "$name" "${asked[@]}" || ! comes_and_goes "$name"; then
            why_authority="${name#*:} is outside what the CA may name"
            leaf_names=("${names[@]}")
            break
        else
            left_out+=("$name")
        fi
    done
    why="$why_authority"
    [ -n "$why" ] || why_new_leaf
}

why_new_authority() {
    if ! is_certificate ca.pem; then
        why_authority="first start"
        [ ! -e certificate.pem ] || why_authority="there is no CA yet"
        return
    fi
    if [ "$(organisation ca.pem subject)" != "$AUTHORITY" ]; then
        why_authority="ca.pem is not ours"
        return
    fi
    mapfile -t permitted < <(names_in ca.pem nameConstraints)
    if [ ! -s ca-key.pem ]; then
        why_authority="the CA's key is lost"
    elif ! fits ca.pem ca-key.pem; then
        why_authority="the CA's key is another's"
    elif ! lasts ca.pem "$AUTHORITY_RENEW_DAYS"; then
        why_authority="the CA expires"
        lasts ca.pem 0 || why_authority="the CA expired"
    fi
}

why_new_leaf() {
    local name there
    if ! is_certificate certificate.pem; then
        why="it was lost"
        return
    fi
    mapfile -t there < <(names_in certificate.pem subjectAltName)
    if ! openssl verify -CAfile ca.pem -no-CApath -no-CAstore -no_check_time certificate.pem >/dev/null 2>&1; then
        why="the old one is not the CA's"
    elif ! lasts certificate.pem "$RENEW_DAYS"; then
        why="the old one expires"
        lasts certificate.pem 0 || why="the old one expired"
    elif ! fits certificate.pem key.pem; then
        why="the key is not the certificate's"
    fi
    [ -z "$why" ] || return 0
    for name in "${leaf_names[@]}"; do
        if ! among "$name" "${there[@]}"; then
            why="${name#*:} was added"
            return
        fi
    done
}

# ---- making

# The name that tells the device best: the first that is not localhost.
first_name() {
    local name
    for name in "${names[@]}"; do
        case "$name" in DNS:localhost | IP:*) ;; *) echo "${name#DNS:}" && return ;; esac
    done
    echo localhost
}

# Numbered rows of a section: DNS.1 = name, ...
rows() {
    local prefix="$1" word number=0
    shift
    for word in "$@"; do
        number=$((number + 1))
        echo "$prefix${word%%:*}.$number = ${word#*:}"
    done
}

write_config() {
    local subtrees=() name taken=0
    for name in "${names[@]}"; do
        case "$name" in
            DNS:*) subtrees+=("$name") ;;
            IP:*) is_private "${name#IP:}" || subtrees+=("IP:$(network_of "${name#IP:}")") ;;
        esac
    done
    subtrees+=("${PRIVATE[@]/#/IP:}")
    # What the CA before might name, for the same reason.
    for name in "${permitted[@]}"; do
        if ! is_passing "${name#DNS:}" && [ "$taken" -lt "$MOST_KEPT" ] && ! among "$name" "${subtrees[@]}"; then
            subtrees+=("$name")
            taken=$((taken + 1))
        fi
    done
    cat <<END
[req]
distinguished_name = subject
prompt = no
string_mask = utf8only
[subject]
O = $1
CN = $2
[ca]
default_ca = here
[here]
database = work/index
new_certs_dir = work
rand_serial = yes
default_md = sha256
policy = both
unique_subject = no
email_in_dn = no
[both]
organizationName = supplied
commonName = supplied
[authority]
basicConstraints = critical,CA:TRUE,pathlen:0
keyUsage = critical,keyCertSign,cRLSign
nameConstraints = critical,@permitted
subjectKeyIdentifier = hash
[permitted]
$(rows 'permitted;' "${subtrees[@]}")
[leaf]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = @names
[names]
$(rows '' "${leaf_names[@]}" "${kept[@]}")
END
}

run_openssl() {
    openssl "$@" >work/said 2>&1 </dev/null || die "openssl $1 failed: $(tail -n 3 work/said | tr '\n' ' ')" "is there space in $dir?"
}

new_key() { run_openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"; }

# A certificate for a key: KEY CERTIFICATE SECTION BEGIN END, the times in seconds, then more words for `openssl ca`.
sign() {
    local key="$1" certificate="$2" section="$3" begin end
    begin="$(date -u -d "@$4" +%Y%m%d%H%M%SZ)"
    end="$(date -u -d "@$5" +%Y%m%d%H%M%SZ)"
    shift 5
    : >work/index
    run_openssl req -new -config work/config -key "$key" -out work/request
    run_openssl ca -batch -notext -config work/config -in work/request -out "$certificate" \
        -startdate "$begin" -enddate "$end" -extensions "$section" -keyfile ca-key.pem "$@"
}

# All four files of a new set; called in its folder.
make_set() {
    local name begin end authority_end lasting=()
    name="$(first_name)"
    mkdir work
    begin=$(($(date +%s) - DAY)) # for browsers on machines whose clock is late
    if [ -n "$why_authority" ]; then
        write_config "$AUTHORITY" "wlk-appliance ${name:0:40} $(openssl rand -hex 4)" >work/config
        new_key ca-key.pem
        sign ca-key.pem ca.pem authority "$begin" $((begin + AUTHORITY_DAYS * DAY)) -selfsign
    else
        cat ../ca.pem >ca.pem
        cat ../ca-key.pem >ca-key.pem
    fi
    end=$((begin + LEAF_DAYS * DAY))
    authority_end="$(end_of ca.pem)"
    [ "$end" -le "$authority_end" ] || end="$authority_end"
    mapfile -t permitted < <(names_in ca.pem nameConstraints)
    for name in "${kept[@]}"; do
        ! permits "$name" || lasting+=("$name")
    done
    kept=("${lasting[@]}")
    name="$(first_name)"
    write_config wlk-appliance "${name:0:64}" >work/config
    new_key key.pem
    sign key.pem work/leaf leaf "$begin" "$end" -cert ca.pem
    cat work/leaf ca.pem >certificate.pem
    openssl verify -CAfile ca.pem -no-CApath -no-CAstore -no_check_time certificate.pem >/dev/null 2>work/said ||
        die "the new certificate does not stand under its CA: $(tail -n 2 work/said | tr '\n' ' ')"
    fits certificate.pem key.pem || die "the new certificate does not fit its key"
    chmod 0644 ca.pem certificate.pem
    rm -r work
    sync "${FILES[@]}" .
}

# Make a link, or point it elsewhere, at once.
link() {
    [ "$(readlink "$1" || true)" != "$2" ] || return 0
    rm -f ".$1.new"
    ln -s "$2" ".$1.new"
    mv -fT ".$1.new" "$1"
}

# Files that stand there plainly become a set too, so that they are exchanged like one.
adopt() {
    local file plain=0 set
    for file in "${FILES[@]}"; do
        if [ -e "$file" ] || [ -L "$file" ]; then
            [ "$(readlink "$file" || true)" = "current/$file" ] || plain=1
        fi
    done
    [ "$plain" = 1 ] || return 0
    set="$(mktemp -d set.XXXXXXXX)"
    for file in "${FILES[@]}"; do
        if [ -e "$file" ]; then cat "$file" >"$set/$file"; else rm -f "$file"; fi
    done
    sync "$set"/* "$set"
    link current "$set"
}

# A reader, or a kill at any moment, finds either the old files or the new ones: one renamed link says which.
publish() {
    local new="$1" before file other
    adopt
    before="$(readlink current || true)"
    for file in "${FILES[@]}"; do link "$file" "current/$file"; done
    [ -e "$new/key.pem" ] || die "another took this one's files away" "run it again"
    link current "$new"
    sync .
    [ "$locked" = 1 ] || return 0
    # The set before stays until the next time, for a server that is just reading it.
    for other in set.*; do
        [ "$other" = "$new" ] || [ "$other" = "$before" ] || rm -rf "$other"
    done
}

make() {
    local new again=0 name until without=""
    [ ! -e ca.pem ] || again=1
    new="$(mktemp -d set.XXXXXXXX)"
    (cd "$new" && make_set)
    publish "$new"
    if [ -n "$why_authority" ]; then
        name="browsers must trust the CA once"
        [ "$again" = 0 ] || name="browsers must trust the new CA instead of the old one"
        echo "new CA and certificate ($why), $name: $dir/tls/ca.pem, SHA-256 $(fingerprint ca.pem)"
    else
        until="$(date -u -d "@$(end_of certificate.pem)" +%Y-%m-%d)"
        for name in "${left_out[@]}"; do without+="; not for ${name#*:}, which the CA may not name"; done
        echo "new certificate until $until ($why), the CA stays: $dir/tls/certificate.pem$without"
    fi
}

# ---- where, and as whom

# As root, write as the server's user does: so it can read the key, and no link in its folder leads root astray.
# That is, run this script again in the folder, as that user, who may not reach the folder by its name.
become_owner() {
    local program
    if [ "$(id -u)" != 0 ]; then
        [ -z "$owner" ] || [ "$owner" = "$(id -u):$(id -g)" ] ||
            die "only root can write for another user: --owner $owner" "run this as that user, or as root"
        return 0
    fi
    program="$(<"$0")"
    cd -- "$dir" || die "can't enter $dir"
    if [ -n "$owner" ]; then
        [ "$(stat -c %u:%g .)" = "$owner" ] || chown "$owner" .
        [ ! -d tls ] || [ "$(stat -c %u:%g tls)" = "$owner" ] || chown --recursive --no-dereference "$owner" tls
    elif [ -e tls ] || [ -L tls ]; then
        owner="$(stat -c %u:%g tls)"
    else
        owner="$(stat -c %u:%g .)"
    fi
    [ "$owner" = 0:0 ] ||
        wlk_cert_in_place=1 exec chroot --userspec="$owner" --groups= --skip-chdir / "$BASH" -c "$program" "$0" "${words[@]}"
    cd - >/dev/null
}

if [ -n "${WLK_TLS_CERT:-}${WLK_TLS_KEY:-}" ]; then
    [ -n "${WLK_TLS_CERT:-}" ] && [ -n "${WLK_TLS_KEY:-}" ] || misused "WLK_TLS_CERT and WLK_TLS_KEY go together" "give both or none"
    [ "$what" != fingerprint ] || die "the site has a certificate of its own: there is no CA of ours" "see $WLK_TLS_CERT"
    exit 0
fi
command -v openssl >/dev/null || die "openssl is not installed" "install it, or let the server make the certificate at its start"
case "$(openssl version)" in
    "OpenSSL "[012].* | LibreSSL*) die "openssl 3 is needed, this is $(openssl version)" "let the server make the certificate at its start" ;;
esac
if [ "$what" = fingerprint ]; then
    cd -- "$dir/tls" 2>/dev/null || die "no CA of ours in $dir/tls" "run this without --fingerprint first"
    if ! is_certificate ca.pem || ! is_certificate certificate.pem || [ "$(organisation certificate.pem issuer)" != "$AUTHORITY" ]; then
        die "no CA of ours in $dir/tls" "run this without --fingerprint first"
    fi
    fingerprint ca.pem
    exit 0
fi
own_names
own_addresses
given_names
if [ "$what" = check ]; then
    if [ ! -e "$dir/tls" ]; then
        echo "due: a new CA and certificate: first start"
        exit 1
    fi
    cd -- "$dir/tls" || die "can't enter $dir/tls" "run this as its owner or as root"
    plan
    [ -n "$why" ] || exit 0
    if [ -n "$why_authority" ]; then echo "due: a new CA and certificate: $why"; else echo "due: a new certificate: $why"; fi
    exit 1
fi
if [ -z "${wlk_cert_in_place:-}" ]; then
    mkdir -p -- "$dir" || die "can't make $dir" "give another folder: --dir"
    become_owner
    cd -- "$dir" || die "can't enter $dir"
fi
mkdir -p tls 2>/dev/null || die "can't write in $dir" "run this as its owner or as root, or give another folder: --dir"
cd tls || die "can't enter $dir/tls"
# One at a time, the server too. Where there is no flock, of two at once the last wins, and nothing is swept up.
if command -v flock >/dev/null; then
    { exec 9>>.lock; } 2>/dev/null || die "can't write in $dir/tls" "run this as its owner or as root"
    flock 9
    locked=1
fi
plan
[ -z "$why" ] || make
