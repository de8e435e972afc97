#!/bin/sh
# Remove from a folder of Python libraries what the server never loads, and add licences that they lack; a target's smoke
# test runs on what is left.
# Usage: prune.sh FOLDER
set -eu
here="$(cd "$(dirname "$0")" && pwd)"
cd "$1"

# torch: its own C++ tests (and one file in the grammar of Python 3.12), headers for building extensions, and programs
# (all but the one its import looks for)
rm -rf torch/test torch/testing/_internal/py312_intrinsics.py torch/include torch/share
if [ -d torch/bin ]; then
    find torch/bin -mindepth 1 -maxdepth 1 ! -name torch_shm_manager -exec rm -rf '{}' +
fi
rm -f torch/lib/libtorchbind_test.so torch/lib/libjitbackend_test.so torch/lib/libbackend_with_compiler.so
# symbolic shapes and graph compilation (torch.compile, torch.export): imported on first use only, and we use neither;
# NeMo imports them, and compiles nothing
rm -rf isympy.py share triton triton-*.dist-info
if [ ! -d nemo ]; then
    rm -rf sympy sympy-*.dist-info mpmath mpmath-*.dist-info networkx networkx-*.dist-info torch/_inductor torch/onnx
fi
# headers of CUDA's libraries; the libraries themselves stay whole, as their licence asks
find . -path './nvidia/*' -type d -name include -prune -exec rm -rf '{}' +
# onnxruntime's C library: its Python module holds all of it
rm -f onnxruntime/capi/libonnxruntime.so*
# building of extensions; an installer has no place in the image
rm -rf setuptools setuptools-*.dist-info _distutils_hack distutils-precedence.pth pkg_resources
# downloads from a model hub; its client alone stays, for faster-whisper imports it
rm -rf hf_xet hf_xet-*.dist-info
# command-line tools of the libraries, stubs for type checkers (librosa reads its own), test suites
rm -rf bin numpy/*/tests numpy/tests onnxruntime/tools onnxruntime/transformers onnxruntime/quantization
find . \( -path ./nvidia -o -path ./librosa \) -prune -o \( -name '*.pyi' -o -name '*.a' \) -type f -exec rm -f '{}' +

# A library that is published without the text of its licence gets it.
for text in "$here"/licences/*.txt; do
    name="$(basename "$text" .txt)"
    for info in "$name"-*.dist-info; do
        [ ! -d "$info" ] || { mkdir -p "$info/licenses" && cp "$text" "$info/licenses/LICENSE"; }
    done
done
