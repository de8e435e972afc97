# NVIDIA GPUs on x86-64. `make images` shows these facts; the build goes by them.
TARGETS += x86-cuda
x86-cuda.architectures := amd64
x86-cuda.python := 3.11
x86-cuda.cuda := 13.0
x86-cuda.size_mb := 5600
# Needed by NeMo (DIARIZATION=sortformer): pure Python, published without a wheel.
x86-cuda.sdists := antlr4-python3-runtime
# Where no registry answers, Debian's own system with its Python stands in for the base.
x86-cuda.stand_in := debian
