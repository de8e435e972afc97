#!/usr/bin/env bash
# Look at an installed appliance, and tell what is wrong and what to do about it. Changes nothing. Needs bash, coreutils,
# sed, grep and openssl 3; systemd, the engine, ss and nvidia-smi are asked where they are.
set -uo pipefail # not -e: no check may end those after it
export LC_ALL=C

usage() {
    cat <<'END'
usage: doctor.sh [OPTIONS]

Look at the appliance that is installed here: what was seen, how bad it is, and what to type about it.

  --json                 one JSON object: {"worst": ..., "findings": [{"check", "severity", "seen", "remedy"}, ...]}
  --deep                 also read every file of the release and of the models, and compare: minutes
  --support-bundle FILE  pack findings, versions, settings and logs into FILE (.tar.gz), without secrets or transcripts
  -h, --help             show this

Severities: ok, note (worth knowing), warning (will be trouble), error (is trouble).
Status: 0 nothing worse than a note; 1 a warning; 2 an error; 3 the support bundle can't be written; 64 wrong usage.
END
}

here="$(dirname "$(readlink --canonicalize "${BASH_SOURCE[0]}")")"
# shellcheck source=scripts/site.sh
. "$here/site.sh"

# Unlike in the other scripts, for 2 is taken.
misused() {
    echo "error: $1" >&2
    echo "  hint: ${2:-doctor.sh --help shows the options}" >&2
    exit 64
}

json=0
deep=0
bundle=""
while [ $# -gt 0 ]; do
    case "$1" in
        -h | --help) usage && exit 0 ;;
        --json) json=1 ;;
        --deep) deep=1 ;;
        --support-bundle) value_of "$1" $# && bundle="$2" && shift ;;
        *) misused "unknown option: $1" ;;
    esac
    shift
done
if [ -n "$bundle" ]; then
    [ -d "$(dirname "$bundle")" ] || misused "no folder $(dirname "$bundle")" "name a file in a folder that is there"
    if [ -e "$bundle" ] || [ -L "$bundle" ]; then misused "$bundle is there already" "name another file"; fi
fi

# Let go of all settings, but for where things are.
forget_settings() {
    local name
    while IFS= read -r name; do
        case "$name" in WLK_PREFIX | WLK_CONFIG | WLK_STATE | WLK_UNITS | WLK_ENGINE | WLK_TEGRA_RELEASE) ;; *) unset "$name" ;; esac
    done < <(compgen -e WLK_)
}
forget_settings # of this shell: the service does not see them

MB=1000000
DAY=86400
MOST_SHOWN=600

# ---- findings

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

# ---- asking, for a bounded time

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
            [ "${BASH_REMATCH[1]}" != WLK_TLS_KEY ] || continue # a file's name
            [[ "$value" =~ ^\"(.*)\"[[:space:]]*$ || "$value" =~ ^\'(.*)\'[[:space:]]*$ ]] && value="${BASH_REMATCH[1]}"
            [ "${#value}" -lt 4 ] || secrets+=("$value") # a shorter one stands in every other word
        done <"$file"
    done
}

# Addresses of clients, which a log names.
mask_addresses() {
    local group='[0-9A-Fa-f]{1,4}'
    local six="(^|[^0-9A-Za-z:_])(($group:){7}$group|($group(:$group)*)?::($group(:[0-9A-Fa-f]{1,5})*)?)(\$|[^0-9A-Za-z_])"
    # The last twice: what stands between two addresses belongs to the first.
    sed --regexp-extended -e 's/\b([0-9]{1,3}\.){3}[0-9]{1,3}\b/(address)/g' -e "s/$six/\1(address)\8/g" -e "s/$six/\1(address)\8/g"
}

# ---- this machine

check_user() {
    [ "$(id -u)" = 0 ] || note user "not run as root: some of this can't be seen, and is told as missing" "sudo $0"
}

check_programs() {
    local said
    if ! said="$(bounded openssl version 2>&1)"; then
        error openssl "openssl can't be run: $(last_line "$said")" "apt-get install openssl"
    elif [[ "$said" =~ ^OpenSSL\ ([3-9]|[1-9][0-9])\. ]]; then
        ok openssl "${said%% (*}"
    else
        error openssl "$said is too old for the certificate and for signatures" "install openssl 3 or newer"
    fi
}

check_engine() {
    local candidate path said status problems=()
    local -A asked=()
    for candidate in ${WLK_ENGINE:-docker /usr/bin/docker podman}; do
        path="$(command -v "$candidate")" || continue
        [ -z "${asked[$path]:-}" ] || continue # not twice, if it hangs
        asked["$path"]=1
        said="$(bounded "$candidate" ps 2>&1)"
        status=$?
        if [ $status = 0 ]; then
            program="$candidate"
            engine=ask # what site.sh asks is bounded too
            engine_version
            return
        fi
        case $status in 124 | 137) said="no answer within $LIMIT s" ;; esac
        problems+=("$candidate: $(last_line "$said")")
    done
    if [ "${#problems[@]}" = 0 ]; then
        error engine "no container engine is installed: ${WLK_ENGINE:-neither docker nor podman}" "apt-get install docker.io"
    else
        error engine "no container engine answers: ${problems[0]}" "systemctl restart docker; journalctl -u docker -n 50"
    fi
}

engine_version() {
    local version
    version="$(ask --version 2>/dev/null)"
    kind=docker
    case "$version" in *podman*) kind=podman ;; esac
    [ $kind = podman ] && version="${version##* }" || version="$(ask version --format '{{.Server.Version}}' 2>/dev/null)"
    if [[ ! "$version" =~ ^([0-9]+)\. ]]; then
        warning engine "$program answers, and does not tell its version" "$program version"
    elif [ $kind = docker ] && [ "${BASH_REMATCH[1]}" -lt 20 ]; then
        error engine "docker $version is too old" "install docker 20.10 or newer"
    else
        ok engine "$program $version answers"
    fi
    if [ $kind = docker ] && [[ "$version" =~ ^([0-9]+)\. ]] && [ "${BASH_REMATCH[1]}" -lt 23 ] &&
        [[ -n "$release" && "$(fact "$release" archive)" = *.zst && ! -f "$release/image.tar" ]] && ! command -v zstd >/dev/null; then
        warning zstd "docker $version can't read the image's archive itself, and there is no zstd to unpack it" "apt-get install zstd"
    fi
}

# Whether there is room: CHECK FOLDER LEAST WANTED WHAT-FOR
check_room() {
    local room
    [ -e "$2" ] || return 0
    read -r _ room < <(bounded df --block-size=1 --output=itotal,avail -- "$2" 2>/dev/null | tail -n 1)
    if ! is_number "${room:-}"; then
        error "$1" "how much room there is in $2 can't be told" "df -h $2"
    elif [ "$room" -lt "$3" ]; then
        error "$1" "$(amount "$room") free in $2, which is full" "df -h $2; du -xh $2 | sort -h | tail"
    elif [ "$room" -lt "$4" ]; then
        warning "$1" "$(amount "$room") free in $2; $5 takes $(amount "$4")" "df -h $2; du -xh $2 | sort -h | tail"
    else
        ok "$1" "$(amount "$room") free in $2"
    fi
    check_inodes "$@"
}

check_inodes() {
    local all free
    read -r all free < <(bounded df --output=itotal,iavail -- "$2" 2>/dev/null | tail -n 1)
    if is_number "${all:-}" && is_number "${free:-}" && [ "$all" -gt 0 ] && [ "$free" -lt 1000 ]; then
        error "$1" "$free inodes are free in $2: no new files" "df -i $2; remove what has many files"
    fi
}

check_disks() {
    local root image=0 carried=0 size path word
    if [ -n "$release" ]; then
        read -r _ image <<<"$(fact "$release" tar)"
        while read -r word _ size path; do [ "$word" != file ] || carried=$((carried + size)); done <"$release/CONTENTS"
    fi
    check_room "disk" "$PREFIX" $((50 * MB)) $((carried + 50 * MB)) "the next release"
    check_room "disk state" "$STATE" $((10 * MB)) $((100 * MB)) "what the server keeps"
    [ -n "$program" ] || return 0
    [ $kind = docker ] && root="$(ask info --format '{{.DockerRootDir}}' 2>/dev/null)" || root="$(ask info --format '{{.Store.GraphRoot}}' 2>/dev/null)"
    if [ -d "$root" ]; then
        check_room "disk engine" "$root" $((200 * MB)) $((image + 200 * MB)) "the next image"
    else
        note "disk engine" "where $program keeps images can't be told: ${root:-nothing said}" "$program info"
    fi
}

# A clock that is late makes certificates that are not valid yet, and logs that can't be read.
check_clock() {
    local made=""
    [ -z "$release" ] || made="$(date --date "$(fact "$release" made)" +%s 2>/dev/null)"
    if [ "$(date +%s)" -lt "${made:-0}" ]; then
        error clock "it is $(date +%F) here, and the release was made on $(date --date "@$made" +%F)" "timedatectl set-time 'YYYY-MM-DD HH:MM:SS'"
    elif [ "$(bounded timedatectl show --property NTPSynchronized --value 2>/dev/null)" = yes ]; then
        ok clock "$(date '+%F %T %Z'), synchronized"
    else
        note clock "$(date '+%F %T %Z'), not synchronized with any other clock" "a time server of the site: NTP= in /etc/systemd/timesyncd.conf"
    fi
}

# ---- what is installed

release=""
check_release() {
    local current="$PREFIX/current"
    if [ -L "$current" ] && [ ! -e "$current" ]; then
        error release "$current points to $(readlink "$current"), which is gone" "install the bundle again: install.sh in its folder"
        return
    elif [ ! -e "$current" ]; then
        error release "nothing is installed in $PREFIX" "install.sh, in the folder of a bundle"
        return
    elif [ "$(head -n 1 "$current/CONTENTS" 2>/dev/null)" != "wlk-bundle 1" ]; then
        error release "$current has no list of contents" "install the bundle again: install.sh in its folder"
        return
    fi
    release="$(readlink --canonicalize "$current")"
    check_files
    if [ $deep = 1 ]; then check_signed; fi
    check_previous
    [ -e "$CONFIG/bundle-key.pem" ] || warning key "no key to check bundles with: $CONFIG/bundle-key.pem" "install -m 0644 YOUR.key.pub $CONFIG/bundle-key.pem"
}

# Whether every listed file is there in its size; what is in it, is for --deep.
check_files() {
    local word size path found paths=() wrong=() archive
    local -A wanted=()
    archive="$(fact "$release" archive)"
    while read -r word _ size path; do
        [ "$word" != file ] || wanted["$path"]="$size"
    done <"$release/CONTENTS"
    if [ ! -e "$release/$archive" ] && [ -e "$release/image.tar" ]; then # put together from a delta
        unset "wanted[$archive]"
        read -r _ "wanted[image.tar]" <<<"$(fact "$release" tar)"
    fi
    paths=("${!wanted[@]}")
    while read -r found path; do
        [ "$found" = "${wanted[$path]}" ] || wrong+=("$path has $found bytes instead of ${wanted[$path]}")
        unset "wanted[$path]"
    done < <(cd "$release" && stat --format '%s %n' -- "${paths[@]}" 2>/dev/null)
    for path in "${!wanted[@]}"; do wrong+=("$path is missing"); done
    if [ "${#wrong[@]}" = 0 ]; then
        ok release "version $(fact "$release" version), $(fact "$release" target) with $(fact "$release" models): ${#paths[@]} files in their sizes"
    else
        error release "$release is damaged: ${wrong[0]}$([ "${#wrong[@]}" = 1 ] || echo " (and $((${#wrong[@]} - 1)) more)")" "install the bundle again: install.sh in its folder"
    fi
}

check_signed() {
    local said
    if said="$(LIMIT=1800 && bounded bash "$release/verify.sh" --allow-downgrade 2>&1)"; then
        ok signature "$(last_line "$said")"
    else
        error signature "$(sed -n 's/^error: //p' <<<"$said" | head -n 1)" "install the bundle again, and look who could write in $release"
    fi
}

check_previous() {
    local previous="$PREFIX/previous"
    if [ -f "$previous/CONTENTS" ]; then
        ok rollback "version $(fact "$previous" version) is there to go back to"
    elif [ -L "$previous" ]; then
        warning rollback "$previous points to $(readlink "$previous"), which is no release" "rm $previous"
    else
        note rollback "no release before this one to go back to"
    fi
}

check_architecture() {
    local machine made
    machine="$(uname -m)"
    made="$(fact "$release" architecture)"
    case "$machine" in x86_64) machine=amd64 ;; aarch64) machine=arm64 ;; esac
    if [ "$made" = "$machine" ]; then
        ok architecture "$machine, as the release"
    else
        error architecture "the release is for $made, this machine is $machine" "install a bundle for $machine"
    fi
}

image="" # the engine's name of the release's image
check_image() {
    [ -n "$program" ] || return 0
    image="$(image_of "$release")"
    if [ -n "$image" ]; then
        ok image "loaded: $(fact "$release" tag)"
    else
        error image "the engine has not got the image of the release" "systemctl restart wlk-load"
    fi
}

# ---- what it keeps

check_state() {
    local owner mode
    if [ ! -d "$STATE" ]; then
        error state "no folder $STATE" "systemctl restart wlk-cert"
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
        error certificate "valid only from $(date -d "@$begin" +%F) on: most likely the clock is late" "timedatectl set-time 'YYYY-MM-DD HH:MM:SS'"
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
            error "certificate key" "others may read the private key $file (mode $mode)" "chmod 0600 $(readlink --canonicalize "$file")"
        elif [ "$owner" != "$OWNER" ]; then
            error "certificate key" "$file belongs to $owner: the server, which runs as $OWNER, can't read it" "chown -R $OWNER $1"
        fi
    done
}

# ---- units

declare -A unit=()
read_unit() {
    local name value
    unit=()
    while IFS='=' read -r name value; do
        [ -z "$name" ] || unit["$name"]="$value"
    done < <(bounded systemctl show "$1" --property=LoadState,ActiveState,SubState,UnitFileState,NRestarts,Result,ExecMainStatus,StatusText,NeedDaemonReload 2>/dev/null)
    [ -n "${unit[LoadState]:-}" ]
}

systemd=1
check_units() {
    if ! read_unit wlk-load.service; then
        systemd=0
        warning systemd "systemd does not answer: whether the service is running can't be asked" "systemctl status"
        return
    fi
    check_helper wlk-load.service "the image can't be loaded"
    check_helper wlk-cert.service "the certificate can't be made or renewed"
    read_unit wlk-cert.timer
    if [ "${unit[LoadState]:-}" != loaded ]; then
        error renewal "wlk-cert.timer is not installed" "install the bundle again: install.sh in its folder"
    elif [ "${unit[ActiveState]:-}" = active ]; then
        ok renewal "the certificate is looked at by wlk-cert.timer"
    else
        warning renewal "wlk-cert.timer is ${unit[ActiveState]:-unknown}: nobody looks at the certificate" "systemctl enable --now wlk-cert.timer"
    fi
}

check_helper() {
    read_unit "$1"
    if [ "${unit[LoadState]:-}" != loaded ]; then
        error "${1%.service}" "$1 is ${unit[LoadState]:-unknown}" "install the bundle again: install.sh in its folder"
    elif [ "${unit[ActiveState]:-}" = failed ]; then
        error "${1%.service}" "failed: $2" "journalctl -u $1 -n 30; systemctl restart $1"
    fi
}

# Names of the instances of wlk@.service: with settings, enabled, or running.
instances() {
    local file
    {
        for file in "$CONFIG"/*.env "$UNITS"/*.wants/wlk@*.service; do
            [ -e "$file" ] || [ -L "$file" ] || continue
            file="$(basename "$file")"
            file="${file#wlk@}" file="${file%.service}"
            echo "${file%.env}"
        done
        bounded systemctl list-units --all --plain --no-legend 'wlk@*.service' 2>/dev/null | sed -n 's/^wlk@\(.*\)\.service .*/\1/p'
    } | grep --extended-regexp '^[A-Za-z0-9_][A-Za-z0-9_.-]*$' | grep --invert-match --line-regexp wlk | sort --unique
}

# ---- an instance; "" is that of wlk.service

at=""      # after the names of its checks
service="" # its unit
container=""
running=0 # whether its container is

check_instance() {
    at="${1:+@$1}"
    service="wlk${1:+@$1}.service"
    container="$(container_of "$1")"
    running=0
    [ -z "$program" ] || [ "$(ask inspect --format '{{.State.Running}}' "$container" 2>/dev/null)" != true ] || running=1
    check_service "$1"
    if load_settings "$1"; then
        if [ -n "$release" ]; then
            check_gpu
            check_model
        fi
        check_memory
        check_port "$1"
    fi
    check_container
    check_log
    forget_settings
}

# Take the settings of an instance, if they can be read.
load_settings() {
    local said name file="$CONFIG/wlk.env"
    if ! said="$(read_settings "$1" 2>&1)"; then
        error "settings$at" "$(sed -n 's/^error: //p' <<<"$said")" "$(sed -n 's/^  hint: //p' <<<"$said")"
        return 1
    fi
    read_settings "$1"
    [ -z "$1" ] || file="$CONFIG/$1.env"
    if [ ! -e "$file" ]; then
        note "settings$at" "no $file: all as it comes"
    elif [ $((8#$(stat -L --format %a "$file") & 8#077)) != 0 ] && holds_secret "$file"; then
        warning "settings$at" "$file holds a secret, and others may read it (mode $(stat -L --format %a "$file"))" "chmod 0600 $file"
    else
        ok "settings$at" "$file"
    fi
}

holds_secret() {
    local row
    while IFS= read -r row || [ -n "$row" ]; do
        [[ ! "$row" =~ ^[[:space:]]*(WLK_[A-Z0-9_]+)=[\"\']?[^\"\'] ]] || ! is_secret "${BASH_REMATCH[1]}" || return 0
    done <"$1"
    return 1
}

check_service() {
    [ $systemd = 1 ] || return 0
    read_unit "$service"
    local state="${unit[ActiveState]:-unknown}" enabled=0 logs="journalctl -u $service -n 50"
    case "${unit[UnitFileState]:-}" in enabled | enabled-runtime | static | alias | generated) enabled=1 ;; esac
    if [ "${unit[LoadState]:-}" != loaded ]; then
        error "service$at" "$service is ${unit[LoadState]:-unknown}" "install the bundle again: install.sh in its folder"
    elif [ "$state" = failed ]; then # without reset-failed, one that failed too often is not started again
        error "service$at" "$service failed: ${unit[Result]:-}, status ${unit[ExecMainStatus]:-}$(killed)$(told)" \
            "$logs; systemctl reset-failed $service && systemctl start $service"
    elif [ "$state" = activating ] && { [ "${unit[SubState]:-}" = auto-restart ] || [ "${unit[NRestarts]:-0}" != 0 ]; }; then
        error "service$at" "$service fails, and is started again and again$(killed)$(told)" "$logs"
    elif [ "$state" = activating ]; then
        note "service$at" "$service is starting" "$logs"
    elif [ "$state" != active ] && [ $enabled = 1 ]; then
        error "service$at" "$service is $state" "systemctl start $service"
    elif [ "$state" != active ] && [ -z "$1" ] && [ -n "$instances" ]; then
        note "service" "$service is neither running nor enabled: the instances are" "systemctl enable --now $service"
    elif [ "$state" != active ]; then
        warning "service$at" "$service is neither running nor enabled" "systemctl enable --now $service"
    elif [ $enabled = 0 ]; then
        warning "service$at" "$service is running, and will not be after the next start of this machine" "systemctl enable $service"
    elif [ "${unit[NRestarts]:-0}" != 0 ]; then
        warning "service$at" "$service is running, and was started again ${unit[NRestarts]} times after it failed" "$logs"
    else
        ok "service$at" "$service is running and enabled"
    fi
    [ "${unit[NeedDaemonReload]:-no}" != yes ] || warning "service$at" "$service was changed on disk" "systemctl daemon-reload && systemctl restart $service"
}

# What service.sh said last of why it does not serve.
told() { case "${unit[StatusText]:-}" in "did not start"* | trying*) echo ": ${unit[StatusText]}" ;; esac }
killed() { [ "${unit[ExecMainStatus]:-}" != 137 ] || echo ": killed, most likely for too little memory (WLK_MEMORY)"; }

check_gpu() {
    local target jetson=0 said file="$CONFIG/wlk.env"
    target="$(fact "$release" target)"
    [ ! -e "${WLK_TEGRA_RELEASE:-/etc/nv_tegra_release}" ] || jetson=1
    case "$target:$jetson:${WLK_GPUS:+gpus}" in
        cpu*:0:) return ;;
        cpu*:1:*) error "gpu$at" "this is a Jetson, and the release is for processors only" "install a bundle of jetson-thor" && return ;;
        cpu*) error "gpu$at" "WLK_GPUS=$WLK_GPUS, and the release can't use a GPU" "remove WLK_GPUS from $file; or install a bundle of x86-cuda" && return ;;
        jetson*:0:*) error "gpu$at" "the release is for a Jetson, and this is none" "install a bundle of x86-cuda or cpu" && return ;;
        *:0:)
            if [ "${WLK_DEVICE:-cuda}" = cpu ]; then
                note "gpu$at" "the release could use a GPU, and is told not to: WLK_DEVICE=cpu"
            else
                error "gpu$at" "the release needs a GPU, and none is handed in" "WLK_GPUS=all in $file; or WLK_DEVICE=cpu"
            fi
            return
            ;;
    esac
    if said="$(bounded nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>&1)" && [ -n "$said" ]; then
        ok "gpu$at" "driver answers: $(tr '\n' ';' <<<"$said")"
    elif [ $jetson = 1 ]; then
        ok "gpu$at" "Jetson: $(head -n 1 "${WLK_TEGRA_RELEASE:-/etc/nv_tegra_release}")"
    else
        error "gpu$at" "no NVIDIA driver answers: $(last_line "$said")" "nvidia-smi; dmesg | grep -i nvidia; install the driver"
    fi
    [ -n "$program" ] || return 0
    if hands_in_gpus $jetson; then
        ok "gpu runtime$at" "$program can hand in GPUs"
    elif [ $kind = podman ]; then
        error "gpu runtime$at" "podman can't hand in GPUs: no description of them in /etc/cdi" "nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"
    else
        error "gpu runtime$at" "docker can't hand in GPUs: it has no runtime nvidia" \
            "install nvidia-container-toolkit, then: nvidia-ctk runtime configure --runtime=docker && systemctl restart docker"
    fi
}

hands_in_gpus() {
    if [ $kind = podman ]; then
        compgen -G '/etc/cdi/nvidia*' >/dev/null || compgen -G '/var/run/cdi/nvidia*' >/dev/null
        return
    fi
    # shellcheck disable=SC2016 # these are the engine's
    [[ " $(ask info --format '{{range $name, $_ := .Runtimes}}{{$name}} {{end}}' 2>/dev/null) " = *" nvidia "* ]] ||
        { [ "$1" = 0 ] && command -v nvidia-container-runtime-hook >/dev/null; }
}

check_model() {
    local models model parent half hidden
    models="$(fact "$release" models)"
    model="${WLK_MODEL:-${models%% *}}"
    if [[ " $models " = *" $model "* ]]; then
        ok "model$at" "$model is in the image"
        return
    fi
    parent="$release/models/$model"
    [ -d "$parent" ] || parent="${WLK_SITE_MODELS:-/data/whisper_models}/$model"
    [ -d "$parent" ] || parent="${WLK_SITE_MODELS:-/data/whisper_models}"
    for half in "faster-whisper-$model" "pytorch-whisper-$model"; do
        if [ ! -d "$parent/$half" ]; then
            error "model$at" "no $parent/$half: a model is a pair" "copy it there; or set WLK_MODEL to one of the image's: $models"
            return
        elif [ -z "$(find -L "$parent/$half" -type f -size +0 2>/dev/null | head -n 1)" ]; then
            error "model$at" "$parent/$half is empty" "copy its files there again"
            return
        fi
    done
    hidden="$(find -L "$parent/faster-whisper-$model" "$parent/pytorch-whisper-$model" ! -perm -o=r 2>/dev/null | head -n 1)"
    if [ -n "$hidden" ]; then
        error "model$at" "the server may not read $hidden" "chmod -R a+rX $parent"
    else
        ok "model$at" "$model: both halves are in $parent"
    fi
}

granted=0 # memory of all instances
check_memory() {
    local given="${WLK_MEMORY:-6g}" all
    all=$(($(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo) * 1024))
    if [[ ! "${given,,}" =~ ^([1-9][0-9]*)([bkmg]?)$ ]]; then
        error "memory$at" "WLK_MEMORY is '$given', which is no amount" "WLK_MEMORY=6g in $CONFIG/wlk.env"
        return
    fi
    case "${BASH_REMATCH[2]}" in k) given=1024 ;; m) given=$((1024 ** 2)) ;; g) given=$((1024 ** 3)) ;; *) given=1 ;; esac
    given=$((given * BASH_REMATCH[1]))
    granted=$((granted + given))
    if [ "$given" -lt $((600 * MB)) ]; then
        warning "memory$at" "WLK_MEMORY gives it $(amount "$given"): too little for most models" "WLK_MEMORY=6g in $CONFIG/wlk.env"
    elif [ $granted -gt "$all" ]; then
        warning "memory$at" "this machine has $(amount "$all"), and the server may take $(amount "$granted")" "a smaller WLK_MEMORY in $CONFIG/wlk.env, or more memory"
    else
        ok "memory$at" "at most $(amount "$given") of $(amount "$all")"
    fi
}

declare -A ports=()
check_port() {
    local port="${WLK_PORT:-8000}" mapped taken
    if ! is_number "$port" || [ "$port" -lt 1 ] || [ "$port" -gt 65535 ]; then
        error "port$at" "WLK_PORT is '$port', which is no port" "WLK_PORT=8000 in $CONFIG/${1:-wlk}.env"
        return
    fi
    case "${WLK_LISTEN:-0.0.0.0}" in
        0.0.0.0 | 127.0.0.1) ;;
        *) error "port$at" "WLK_LISTEN is '$WLK_LISTEN'" "0.0.0.0 serves the network, 127.0.0.1 this machine only" ;;
    esac
    if [ -n "${ports[$port]:-}" ]; then
        error "port$at" "$port is that of ${ports[$port]} too" "another WLK_PORT in $CONFIG/${1:-wlk}.env"
        return
    fi
    # wlk.service that is not in use takes no port from an instance.
    [ $systemd = 1 ] && [ "${unit[ActiveState]:-}" = inactive ] && [ $running = 0 ] || ports["$port"]="$service"
    if [ $running = 0 ]; then
        taken="$(listener "$port")"
        if [ -n "$taken" ]; then
            error "port$at" "$port is taken by $taken" "stop that, or set another WLK_PORT in $CONFIG/${1:-wlk}.env"
        else
            ok "port$at" "$port is free"
        fi
        return
    fi
    mapped="$(ask port "$container" 8000/tcp 2>/dev/null | sed -n '1s/.*://p')"
    if [ "$mapped" != "$port" ]; then
        warning "port$at" "the settings say $port, and it serves at ${mapped:-none}" "systemctl restart $service"
    elif ! (LIMIT=5 && bounded bash -c ": </dev/tcp/127.0.0.1/$port") 2>/dev/null; then
        error "port$at" "nobody answers at $port, which $container should serve" "systemctl restart docker; systemctl restart $service"
    else
        ok "port$at" "$port is served by $container"
    fi
}

# Who listens at a TCP port; "somebody" where that can't be told, nothing where nobody does.
listener() {
    local number seen address state
    seen="$(bounded ss --no-header --listening --tcp --numeric --processes "sport = :$1" 2>/dev/null)"
    if [[ "$seen" =~ users:\(\(\"([^\"]*)\",pid=([0-9]+) ]]; then
        echo "${BASH_REMATCH[1]} (process ${BASH_REMATCH[2]})"
        return
    fi
    number="$(printf '%04X' "$1")"
    while read -r _ address _ state _; do
        [[ "$address" != *":$number" || "$state" != 0A ]] || { echo somebody && return; }
    done < <(cat /proc/net/tcp /proc/net/tcp6 2>/dev/null)
}

check_container() {
    local said of oom severity
    if [ $running = 0 ]; then
        if [ -n "$program" ] && { [ $systemd = 0 ] || [ "${unit[ActiveState]:-}" = active ]; }; then
            error "container$at" "$container is not running" "systemctl restart $service"
        fi
        return
    fi
    read -r of oom < <(ask inspect --format '{{.Image}} {{.State.OOMKilled}}' "$container" 2>/dev/null)
    if [ -n "$image" ] && said="$(ask image inspect --format '{{.Id}}' "$image" 2>/dev/null)" && [ "${said#sha256:}" != "${of#sha256:}" ]; then
        warning "container$at" "$container runs another image than that of the release" "systemctl restart $service"
    fi
    [ "$oom" != true ] || error "container$at" "$container had too little memory, and a process in it was killed" "a larger WLK_MEMORY in $CONFIG/wlk.env; systemctl restart $service"
    if said="$(LIMIT=15 && ask exec "$container" python3 -m appliance health --ready 2>&1)"; then
        ok "ready$at" "$(last_line "$said")"
    else
        severity=error
        [[ "$said" != loading* ]] || severity=warning
        finding $severity "ready$at" "it does not serve: $(last_line "${said:-no answer within 15 s}")" "journalctl -u $service -n 50; systemctl restart $service"
    fi
    check_inside
}

# What the same command finds in the container.
check_inside() {
    local said severity check seen remedy number="${#checks[@]}" words=(--rows)
    LIMIT=40
    if [ $deep = 1 ]; then LIMIT=1800 && words+=(--deep); fi
    said="$(ask exec "$container" timeout $((LIMIT - 5)) python3 -m appliance doctor "${words[@]}" 2>&1)"
    LIMIT=10
    while IFS=$'\t' read -r severity check seen remedy; do
        case "$severity" in ok | note | warning | error) finding "$severity" "inside $check$at" "$seen" "$remedy" ;; esac
    done <<<"$said"
    [ "$number" != "${#checks[@]}" ] || warning "inside$at" "the container can't be asked: $(head -n 1 <<<"$said")" "$program exec $container python3 -m appliance doctor"
}

check_log() {
    local said row
    [ $systemd = 1 ] || return 0
    if ! said="$(bounded journalctl --unit "$service" --since -7d --lines 1000 --output short-iso --no-pager 2>/dev/null)"; then
        note "log$at" "the log of $service can't be read" "journalctl -u $service -n 50"
        return
    fi
    row="$(grep --extended-regexp ' error: | (ERROR|CRITICAL) |[A-Za-z]+Error: ' <<<"$said" | tail -n 1 | mask_addresses)"
    if [ -z "$row" ]; then
        ok "log$at" "no error in the log of $service in 7 days"
    elif [ $running = 1 ]; then
        note "log$at" "$row" "journalctl -u $service -n 50"
    else
        warning "log$at" "$row" "journalctl -u $service -n 50"
    fi
}

# ---- all of it

examine() {
    local name
    find_secrets
    load_quietly
    check_user
    check_programs
    check_release
    check_engine
    if [ -n "$release" ]; then
        check_architecture
        check_image
    fi
    check_disks
    check_clock
    if [ -z "$release" ] && [ ! -e "$STATE" ]; then return; fi # nothing was ever installed
    check_state
    check_certificate
    forget_settings
    check_units
    instances="$(instances)"
    check_instance ""
    for name in $instances; do check_instance "$name"; done
}

# The settings of wlk.service, where there is nothing wrong with them; what is, is told later.
load_quietly() { ! (read_settings) >/dev/null 2>&1 || read_settings; }

main() {
    examine
    if [ $json = 1 ]; then print_json; else print_text; fi
    if [ -n "$bundle" ]; then
        # shellcheck source=scripts/support.sh
        . "$here/support.sh"
        pack "$bundle" || exit 3
    fi
    case "$(worst)" in error) exit 2 ;; warning) exit 1 ;; *) exit 0 ;; esac
}
if [ "${BASH_SOURCE[0]}" = "$0" ]; then main; fi # sourced by tests, which look at single checks
