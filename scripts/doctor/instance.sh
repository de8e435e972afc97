#!/usr/bin/env bash
# Checks of an instance; "" is that of wlk.service. Sourced by doctor.sh.
# shellcheck disable=SC2034,SC2154

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

# The tokens of all instances.
check_tokens() {
    local file mode
    while IFS= read -r file; do
        [ -e "$file" ] || continue
        mode="$(stat -L --format %a "$file")"
        if [ $((8#$mode & 8#077)) = 0 ]; then
            ok tokens "$file"
        else
            warning tokens "others may read the tokens in $file (mode $mode)" "chmod 0600 $file"
        fi
    done < <(token_files)
}

holds_secret() {
    local row
    while IFS= read -r row || [ -n "$row" ]; do
        [[ ! "$row" =~ ^[[:space:]]*(WLK_[A-Z0-9_]+)=[\"\']?[^\"\'] ]] || ! is_secret "${BASH_REMATCH[1]}" || return 0
    done <"$1"
    return 1
}

check_service() {
    [ "$systemd" = 1 ] || return 0
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
    ! is_jetson || jetson=1
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
    if hands_in_gpus; then
        ok "gpu runtime$at" "$program can hand in GPUs"
    elif [ "$kind" = podman ]; then
        error "gpu runtime$at" "podman can't hand in GPUs: no description of them in /etc/cdi" "nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"
    else
        error "gpu runtime$at" "docker can't hand in GPUs: it has no runtime nvidia" \
            "install nvidia-container-toolkit, then: nvidia-ctk runtime configure --runtime=docker && systemctl restart docker"
    fi
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
    [ "$systemd" = 1 ] && [ "${unit[ActiveState]:-}" = inactive ] && [ "$running" = 0 ] || ports["$port"]="$service"
    if [ "$running" = 0 ]; then
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
    local seen
    seen="$(bounded ss --no-header --listening --tcp --numeric --processes "sport = :$1" 2>/dev/null)"
    if [[ "$seen" =~ users:\(\(\"([^\"]*)\",pid=([0-9]+) ]]; then
        echo "${BASH_REMATCH[1]} (process ${BASH_REMATCH[2]})"
    elif in_use "$1"; then
        echo somebody
    fi
}

check_container() {
    local said of oom severity
    if [ "$running" = 0 ]; then
        if [ -n "$program" ] && { [ "$systemd" = 0 ] || [ "${unit[ActiveState]:-}" = active ]; }; then
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
    if [ "$deep" = 1 ]; then LIMIT=1800 && words+=(--deep); fi
    said="$(ask exec "$container" timeout $((LIMIT - 5)) python3 -m appliance doctor "${words[@]}" 2>&1)"
    LIMIT=10
    while IFS=$'\t' read -r severity check seen remedy; do
        case "$severity" in ok | note | warning | error) finding "$severity" "inside $check$at" "$seen" "$remedy" ;; esac
    done <<<"$said"
    [ "$number" != "${#checks[@]}" ] || warning "inside$at" "the container can't be asked: $(head -n 1 <<<"$said")" "$program exec $container python3 -m appliance doctor"
}

check_log() {
    local said row
    [ "$systemd" = 1 ] || return 0
    if ! said="$(bounded journalctl --unit "$service" --since -7d --lines 1000 --output short-iso --no-pager 2>/dev/null)"; then
        note "log$at" "the log of $service can't be read" "journalctl -u $service -n 50"
        return
    fi
    row="$(grep --extended-regexp ' error: | (ERROR|CRITICAL) |"level": "(ERROR|CRITICAL)"|[A-Za-z]+Error: ' <<<"$said" | tail -n 1 | mask_addresses)"
    if [ -z "$row" ]; then
        ok "log$at" "no error in the log of $service in 7 days"
    elif [ $running = 1 ]; then
        note "log$at" "$row" "journalctl -u $service -n 50"
    else
        warning "log$at" "$row" "journalctl -u $service -n 50"
    fi
}
