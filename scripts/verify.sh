#!/usr/bin/env bash
# Check a bundle before anything of it is used: its signature, then every file. Needs bash, coreutils and openssl 3,
# and nothing else.
set -euo pipefail
export LC_ALL=C

usage() {
    cat <<'END'
usage: verify.sh [OPTIONS] [FOLDER]

Check that a bundle is, to the last byte, what was signed. FOLDER is where this script lies, unless given.

  --key FILE           the public key of who made the bundle (/etc/wlk/bundle-key.pem, where it is)
  --trust FINGERPRINT  take the key in the bundle, if this is its fingerprint: 64 digits, or the first 32 at least
  --allow-downgrade    also where a newer version is installed
  -h, --help           show this

It ends with 0 where all is well, with 1 where something is not, and says what.
END
}

# shellcheck source=scripts/signed.sh
. "$(dirname "$(readlink --canonicalize "$0")")/signed.sh"

downgrade=0
while [ $# -gt 0 ]; do
    case "$1" in
        --allow-downgrade) downgrade=1 ;;
        *) take_option "$@" && shift $((taken - 1)) ;;
    esac
    shift
done
enter_folder
installed="${WLK_PREFIX:-/opt/wlk}/current/CONTENTS"

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
require_signed CONTENTS

# From here on the list can be trusted; it is still read to the letter.
declare -A fact=()
number=0
while IFS= read -r row; do
    number=$((number + 1))
    if [ "$number" = 1 ]; then
        [ "$row" = "wlk-bundle 1" ] || die "this bundle is of another kind: $row" "use the verify.sh that came with it"
    elif [[ "$row" =~ ^(version|target|models|architecture|image|made|archive|tar|tag|layer)\ ([A-Za-z0-9._+:/\ -]+)$ ]]; then
        fact["${BASH_REMATCH[1]}"]="${BASH_REMATCH[2]}"
    else
        is_file_row "$row" || die "CONTENTS, line $number is malformed: $row" "get the bundle again"
    fi
done <"$work/list"
for name in version architecture archive tar; do
    [ -n "${fact[$name]:-}" ] || die "CONTENTS does not tell $name" "get the bundle again"
done
if [ ! -e "${fact[archive]}" ] && [ -e image.tar ]; then # put together from a delta
    unset "size[${fact[archive]}]"
    read -r "digest[image.tar]" "size[image.tar]" <<<"${fact[tar]}"
fi
check_files CONTENTS

case "$(uname -m)" in x86_64) machine=amd64 ;; aarch64) machine=arm64 ;; *) machine="$(uname -m)" ;; esac
[ "${fact[architecture]}" = "$machine" ] ||
    die "the bundle is for ${fact[architecture]}, this machine is $machine" "ask for a bundle for $machine"
if [ -f "$installed" ] && [ "$downgrade" = 0 ]; then
    present=0
    while read -r name rest; do
        [ "$name" != version ] || present="$rest"
    done <"$installed"
    newest="$(printf '%s\n' "$present" "${fact[version]}" | sort --version-sort | tail -n 1)"
    [ "$newest" = "${fact[version]}" ] ||
        die "the bundle holds version ${fact[version]}, and $present is installed" "--allow-downgrade takes it nevertheless"
fi
echo "good: ${fact[target]:-} with ${fact[models]:-}, version ${fact[version]}, for $machine; $checked files, signed with $signer"
