#!/usr/bin/env bash
# Build torchaudio's wheel from source against the torch that is installed.
# Usage: build_torchaudio.sh SOURCE_FOLDER WHEEL_FOLDER
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
# shellcheck source=images/jetson-thor/versions.env
. "$here/versions.env"
source="$1"
wheels="$2"

# What would be downloaded in the build, or needs CUDA or FFmpeg, is off: resampling and features need none of it.
export BUILD_SOX=0 BUILD_RIR=0 BUILD_RNNT=0 BUILD_ALIGN=0 BUILD_CUDA_CTC_DECODER=0 USE_FFMPEG=0 USE_CUDA=0
BUILD_VERSION="$TORCHAUDIO_VERSION+wlk"
export BUILD_VERSION
unset PYTORCH_VERSION
before="$(python3 -c 'import torch; print(torch.__version__)')"
python3 -m pip wheel --no-deps --no-build-isolation --no-index --wheel-dir "$wheels" "$source"
after="$(python3 -c 'import torch; print(torch.__version__)')"
if [ "$before" != "$after" ]; then
    echo "error: building torchaudio changed torch from $before to $after" >&2
    exit 1
fi
