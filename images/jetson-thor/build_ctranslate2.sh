#!/usr/bin/env bash
# Build CTranslate2's library and wheel from source, for the GPU architecture of versions.env.
# Usage: build_ctranslate2.sh SOURCE_FOLDER PREFIX WHEEL_FOLDER
# The source needs its submodules: the CCCL it pins is needed, for CUDA 13's own does not compile with it.
# CUDA_ARCHITECTURE, if set, builds for another GPU than Thor's: so the script can be tried on another machine.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
wanted="${CUDA_ARCHITECTURE:-}"
# shellcheck source=images/jetson-thor/versions.env
. "$here/versions.env"
architecture="${wanted:-$CUDA_ARCHITECTURE}"
source="$1"
prefix="$(realpath -m "$2")" # the wheel is linked in another folder
wheels="$3"

# CMake's own function for CUDA flags knows one digit before the dot only: 11.0 is an error there, and "Auto" gives 8.6
# without a word. The flags are therefore given as they are.
lists="$source/CMakeLists.txt"
grep -q 'cuda_select_nvcc_arch_flags' "$lists" || {
    echo "error: $lists does not choose its CUDA flags as version $CTRANSLATE2_VERSION does" >&2
    echo "  hint: is $source the source of CTranslate2 $CTRANSLATE2_VERSION?" >&2
    exit 1
}
flags="-gencode;arch=compute_$architecture,code=sm_$architecture"
sed -i "s/^\( *\)cuda_select_nvcc_arch_flags(ARCH_FLAGS .*)/\1set(ARCH_FLAGS \"$flags\")/" "$lists"
grep -q "set(ARCH_FLAGS \"$flags\")" "$lists" || {
    echo "error: the CUDA flags of $lists could not be set" >&2
    exit 1
}
cmake -S "$source" -B "$source/build" -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX="$prefix" \
    -DWITH_CUDA=ON -DWITH_CUDNN=OFF -DWITH_MKL=OFF -DWITH_OPENBLAS=ON -DWITH_RUY=ON -DOPENMP_RUNTIME=COMP -DBUILD_CLI=OFF
cmake --build "$source/build" --parallel "${JOBS:-$(nproc)}"
cmake --install "$source/build"
CTRANSLATE2_ROOT="$prefix" python3 -m pip wheel --no-deps --no-build-isolation --no-index --wheel-dir "$wheels" "$source/python"
"$here/check_ctranslate2.sh" "$prefix/lib/libctranslate2.so" "$architecture"
