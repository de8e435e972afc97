#!/usr/bin/env bash
# Checks of the installed release: its files, signature, architecture, image. Sourced by doctor.sh.
# shellcheck disable=SC2034,SC2154

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
    if [ "$deep" = 1 ]; then check_signed; fi
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
