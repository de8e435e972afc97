#!/usr/bin/env bash
# Run the appliance on this machine. Needs an engine (docker or podman) and a loaded image, and nothing else.
set -euo pipefail

usage() {
    cat <<'END'
usage: run_wlk.sh MODEL [OPTIONS]

Start the appliance with a model in the background, as container `wlk`, and serve the network.

  -f, --foreground     stay in front; Ctrl-C stops it
  --lan LANGUAGE       language of the speech where a client names none: auto, en, zh, ... (auto)
  --port N             port on this machine (8000)
  --local              serve this machine only
  --aside              without a port, a network, and state that lasts: to try an image
  --models-dir DIR     models of this site instead of those in the image:
                       DIR/faster-whisper-MODEL and DIR/pytorch-whisper-MODEL
                       (/data/whisper_models, where no image holds MODEL)
  --journal            keep what is said, as text, in the state; WLK_JOURNAL names another folder (docs/journal.md)
  --gpus SPEC          hand GPUs in: all, or device=N (on a Jetson: all)
  -h, --help           show this

Settings of the server that are in the environment, such as WLK_TOKEN, are handed on to it; of a WLK_TOKEN_FILE, what it holds.
WLK_IMAGE names another image, WLK_ENGINE another engine; WLK_NAME another container name.
WLK_MEMORY is the most memory it may take (6g). Certificate and state stay in the volume `wlk-state`
(WLK_STATE_VOLUME: another volume, or a folder).
To stop: docker stop wlk
END
}

die() {
    echo "error: $1" >&2
    [ -z "${2:-}" ] || echo "  hint: $2" >&2
    exit 1
}

misused() {
    echo "error: $1" >&2
    echo "  hint: ${2:-run_wlk.sh --help shows the options}" >&2
    exit 2
}

# The word after an option, or a clear error.
value_of() {
    [ "$2" -ge 2 ] || misused "$1 needs a value"
}

model=""
foreground=0
port=8000
address=0.0.0.0
aside=0
language=""
models_dir=""
gpus=""
journal="${WLK_JOURNAL:-}"
while [ $# -gt 0 ]; do
    case "$1" in
        -h | --help) usage && exit 0 ;;
        -f | --foreground) foreground=1 ;;
        --local) address=127.0.0.1 ;;
        --aside) aside=1 ;;
        --journal) journal="${journal:-/var/lib/wlk/journal}" ;;
        --lan) value_of "$1" $# && language="$2" && shift ;;
        --port) value_of "$1" $# && port="$2" && shift ;;
        --models-dir) value_of "$1" $# && models_dir="$2" && shift ;;
        --gpus) value_of "$1" $# && gpus="$2" && shift ;;
        -*) misused "unknown option: $1" ;;
        *)
            [ -z "$model" ] || misused "one model only: $model or $1?"
            model="$1"
            ;;
    esac
    shift
done
[ -n "$model" ] || misused "which model?" "for example: run_wlk.sh base"
case "$model" in *[!A-Za-z0-9._-]*) misused "not a model name: $model" ;; esac
case "$language" in *[!a-z]* | -*) misused "not a language: $language" "auto, or a code such as en or zh" ;; esac
case "$port" in '' | *[!0-9]*) misused "not a port: $port" "a number from 1 to 65535" ;; esac
[ "$port" -ge 1 ] && [ "$port" -le 65535 ] || misused "not a port: $port" "a number from 1 to 65535"

# The first engine whose daemon answers; a client without one may stand first on PATH.
find_engine() {
    local candidate
    for candidate in "${WLK_ENGINE:-docker}" /usr/bin/docker podman; do
        if command -v "$candidate" >/dev/null && "$candidate" ps >/dev/null 2>&1; then
            echo "$candidate"
            return
        fi
        [ -z "${WLK_ENGINE:-}" ] || break
    done
    if [ -n "${WLK_ENGINE:-}" ]; then
        die "$WLK_ENGINE does not answer" "start it, or unset WLK_ENGINE"
    fi
    if command -v docker >/dev/null; then
        die "docker is installed, but its daemon does not answer" "sudo systemctl start docker; or run this as a user who may use it"
    fi
    die "no container engine found (docker or podman)" "install one, for example: sudo apt-get install docker.io"
}
engine="$(find_engine)"

loaded() { "$engine" images --format '{{.Repository}}:{{.Tag}}' | sed 's|^localhost/||' | grep '^wlk-appliance:' || true; }
# The first image that holds a model, or any with '*', and that can use a GPU, or need not.
image_with() {
    local candidate
    for candidate in $(loaded | grep -v ':[0-9]'); do
        case "$candidate" in
            wlk-appliance:cpu-*) [ -z "$gpus" ] || continue ;; # it can't use a GPU
            *) [ -n "$gpus" ] || continue ;;
        esac
        # An image may hold several models: wlk-appliance:cpu-base_small.
        # shellcheck disable=SC2254 # it is a pattern on purpose
        case "$candidate" in
            wlk-appliance:*-$1 | wlk-appliance:*-${1}_* | wlk-appliance:*_$1 | wlk-appliance:*_${1}_*)
                echo "$candidate"
                return
                ;;
        esac
    done
}
jetson=0
if [ -e "${WLK_TEGRA_RELEASE:-/etc/nv_tegra_release}" ]; then
    jetson=1
    gpus="${gpus:-all}"
fi
image="${WLK_IMAGE:-}"
site_models="${WLK_SITE_MODELS:-/data/whisper_models}"
if [ -z "$image" ] && [ -z "$models_dir" ]; then
    image="$(image_with "$model")"
    if [ -z "$image" ] && { [ -d "$site_models/faster-whisper-$model" ] || [ -d "$site_models/pytorch-whisper-$model" ]; }; then
        models_dir="$site_models"
    fi
fi
if [ -z "$image" ] && [ -n "$models_dir" ]; then
    image="$(image_with '*')" # a site's own models run in any of our images
fi
if [ -z "$image" ] || ! "$engine" image inspect "$image" >/dev/null 2>&1; then
    have="$(loaded | tr '\n' ' ')"
    echo "error: no image ${image:-for model $model${gpus:+ that can use a GPU}} is loaded" >&2
    echo "  loaded: ${have:-none}" >&2
    archive="wlk-appliance-VERSION-cpu-$model.tar.gz"
    case "$(uname -m)" in aarch64) machine=arm64 ;; *) machine=amd64 ;; esac
    for candidate in {,dist/}wlk-appliance-*-"$model"{,"-$machine"}.tar.gz; do
        [ ! -f "$candidate" ] || archive="$candidate"
    done
    echo "  hint: $engine load --input $archive; or copy the model to $site_models" >&2
    exit 1
fi

name="${WLK_NAME:-wlk}"
if [ -n "$("$engine" ps --all --quiet --filter "name=^$name\$")" ]; then
    if [ "$("$engine" inspect --format '{{.State.Running}}' "$name")" = true ]; then
        die "the container $name is already running" "stop it first: $engine stop $name"
    fi
    "$engine" rm "$name" >/dev/null
fi

# Hardened: nothing may be written but state and /tmp, no capability is kept, nothing may be gained; logs are bounded. And
# nothing is ever fetched.
# A stop takes 9 s at most, in which clients get their last words: an engine waits for longer before it kills.
# It has this machine's name, for that is what browsers call it.
options=(--name "$name" --pull never --hostname "$(hostname)" --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges
    --memory "${WLK_MEMORY:-6g}" --pids-limit 512 --stop-timeout 15)
if [ "$foreground" = 1 ]; then
    options+=(--log-driver none) # who started it reads the log
    # Podman would have a unit for each look, and one that fails while the models are loaded.
    case "$(basename "$engine")" in podman*) options+=(--no-healthcheck) ;; esac
else
    case "$(basename "$engine")" in
        podman*) options+=(--log-driver k8s-file --log-opt max-size=30mb) ;;
        *) options+=(--log-driver json-file --log-opt max-size=10m --log-opt max-file=3) ;;
    esac
fi
declare -A settings=([WLK_MODEL]="$model")
[ -z "$language" ] || settings[WLK_LANGUAGE]="$language"
if [ "$aside" = 1 ]; then
    options+=(--network none --tmpfs /var/lib/wlk:mode=1777) # Podman gives it to no other user
    settings[WLK_TLS]=false
    # What a site has in its state is not there: recordings of voices are left out, weights handed in.
    unset WLK_ENROLL
    case "${WLK_DIARIZATION_FILE:-} ${WLK_STATE_VOLUME:-}" in
        "/var/lib/wlk/"*" /"*)
            weights="$WLK_STATE_VOLUME/${WLK_DIARIZATION_FILE#/var/lib/wlk/}"
            [ -f "$weights" ] || die "no such file: $weights" "mend WLK_DIARIZATION_FILE"
            options+=(--volume "$weights:$WLK_DIARIZATION_FILE:ro")
            ;;
    esac
else
    # Podman is of systems with SELinux, where the folder must be labelled as the containers'.
    case "$(basename "$engine")" in podman*) shared=:z ;; *) shared="" ;; esac
    options+=(--volume "${WLK_STATE_VOLUME:-wlk-state}:/var/lib/wlk$shared" --publish "$address:$port:8000")
fi
if [ "$aside" = 0 ] && [ "$address" = 0.0.0.0 ]; then
    # Browsers accept the certificate for these only.
    names="${WLK_TLS_HOST_NAMES:-},$(hostname),$(hostname -f 2>/dev/null || true),$(hostname -I 2>/dev/null | tr ' ' ',' || true)"
    names="$(echo "$names" | tr ',' '\n' | sed '/^ *$/d' | sort -u | paste -sd, -)"
    settings[WLK_TLS_HOST_NAMES]="$names"
fi
if [ -n "$models_dir" ]; then
    [ -d "$models_dir" ] || die "no such folder: $models_dir" "the folder that holds faster-whisper-$model and pytorch-whisper-$model"
    models_dir="$(cd "$models_dir" && pwd)"
    parent="$models_dir"
    [ ! -d "$models_dir/$model" ] || parent="$models_dir/$model"
    for half in "faster-whisper-$model" "pytorch-whisper-$model"; do
        [ -d "$parent/$half" ] || die "$parent has no $half" "copy that folder to $parent/$half: a model is a pair of both"
    done
    hidden="$(find "$parent/faster-whisper-$model" "$parent/pytorch-whisper-$model" -type f ! -perm -o=r | head -n 1)"
    [ -z "$hidden" ] || die "the appliance's user may not read $hidden" "chmod -R a+rX $parent"
    # The image keeps its own voice activity model and recordings: only the pair comes from outside.
    options+=(--volume "$parent:/site-models:ro")
    settings[WLK_ENCODER_DIR]="/site-models/faster-whisper-$model"
    settings[WLK_DECODER_DIR]="/site-models/pytorch-whisper-$model"
    settings[WLK_VAD_FILE]=/models/silero_vad.onnx
fi
if [ -n "${WLK_TRANSLATION_DIR:-}" ]; then
    [ -f "$WLK_TRANSLATION_DIR/model.bin" ] || die "no model.bin in $WLK_TRANSLATION_DIR" "name a translation model's folder with WLK_TRANSLATION_DIR, or leave it empty"
    hidden="$(find "$WLK_TRANSLATION_DIR/" -type f ! -perm -o=r | head -n 1)"
    [ -z "$hidden" ] || die "the appliance's user may not read $hidden" "chmod -R a+rX $WLK_TRANSLATION_DIR"
    options+=(--volume "$(cd "$WLK_TRANSLATION_DIR" && pwd):/translation:ro")
    settings[WLK_TRANSLATION_DIR]=/translation
fi
# In the state the server makes the folder itself; another one of this machine must be its user's alone.
if [ "$aside" = 1 ]; then journal=""; fi
case "$journal" in
    '') ;;
    /var/lib/wlk/?*) settings[WLK_JOURNAL]="$journal" ;;
    /*)
        [ -d "$journal" ] || die "no such folder: $journal" "make it for the server's user: install -d -o 10001 -g 10001 -m 0700 $journal"
        options+=(--volume "$journal:/journal${shared:-}")
        settings[WLK_JOURNAL]=/journal
        ;;
    *) die "WLK_JOURNAL is no folder: $journal" "/var/lib/wlk/journal, or another folder of this machine by its whole path" ;;
esac
if [ "$jetson" = 1 ]; then
    options+=(--runtime nvidia --env "NVIDIA_VISIBLE_DEVICES=${gpus#device=}")
    settings[WLK_DEVICE]=cuda
elif [ -n "$gpus" ]; then
    case "$(basename "$engine")" in
        podman*) gpus="${gpus//\"/}" && options+=(--device "nvidia.com/gpu=${gpus#device=}") ;;
        *) options+=(--gpus "$gpus") ;;
    esac
    settings[WLK_DEVICE]=cuda
fi
# Handed on as it stands: the server's user may not read what is root's, and the container has no file of the host.
if [ -n "${WLK_TOKEN_FILE:-}" ]; then
    [ -f "$WLK_TOKEN_FILE" ] && [ -r "$WLK_TOKEN_FILE" ] ||
        die "can't read the tokens in $WLK_TOKEN_FILE" "name a file that $(id -un) may read with WLK_TOKEN_FILE"
    WLK_TOKENS="$(<"$WLK_TOKEN_FILE")"
    [ -n "$WLK_TOKENS" ] || die "$WLK_TOKEN_FILE holds no token" "write lines of NAME: TOKEN, or remove it"
    export WLK_TOKENS
fi
# What the environment says to the server is handed on by name, so that no secret stands among the words of a process.
while IFS= read -r variable; do
    case "$variable" in
        WLK_IMAGE | WLK_ENGINE | WLK_NAME | WLK_MEMORY | WLK_STATE_VOLUME | WLK_SITE_MODELS | WLK_TEGRA_RELEASE) ;; # for us
        WLK_PREFIX | WLK_CONFIG | WLK_STATE | WLK_UNITS | WLK_INSTANCE | WLK_LISTEN | WLK_GPUS) ;; # for service.sh,
        WLK_ENGINE_SECONDS | WLK_START_SECONDS | WLK_START_TRIES | WLK_WATCH_SECONDS) ;;           # these too
        WLK_HOST | WLK_PORT | WLK_MODELS_DIR | WLK_STATE_DIR | WLK_ENV_FILE) ;; # fixed by the image
        WLK_TOKEN_FILE | WLK_JOURNAL) ;;                                            # of this machine
        *) [ -n "${settings[$variable]:-}" ] || options+=(--env "$variable") ;;
    esac
done < <(compgen -e WLK_)
[ -z "${DIAR:-}" ] || options+=(--env DIAR) # as older files have it
for variable in "${!settings[@]}"; do
    options+=(--env "$variable=${settings[$variable]}")
done

case "${WLK_TLS:-true}" in false | 0 | no | off) scheme=http ;; *) scheme=https ;; esac
shown=127.0.0.1
[ "$address" = 127.0.0.1 ] || shown="$(hostname)"
if [ "$foreground" = 1 ]; then
    echo "wlk: $image on $scheme://$shown:$port (Ctrl-C stops it)" >&2
    exec "$engine" run --rm "${options[@]}" "$image"
fi
[ "$aside" = 1 ] || options+=(--restart unless-stopped)
if ! said="$("$engine" run --detach "${options[@]}" "$image" 2>&1)"; then
    "$engine" rm --force "$name" >/dev/null 2>&1 || true
    case "$said" in
        *"already allocated"*) die "port $port is another container's" "choose another: --port $((port + 1)); where $engine ps shows none with it: systemctl restart docker" ;;
        *"address already in use"*) die "port $port is in use" "choose another: --port $((port + 1))" ;;
        *) die "the container did not start: $said" ;;
    esac
fi
if [ "$aside" = 1 ]; then
    echo "wlk: $image is starting aside as container $name"
    exit 0
fi
echo "wlk: $image is starting as container $name: $scheme://$shown:$port"
echo "wlk: log: $engine logs -f $name; stop: $engine stop $name"
