# The CPU target: no accelerator. `make images` shows these facts; the build goes by them.
TARGETS += cpu
cpu.architectures := amd64 arm64
cpu.python := 3.11
cpu.cuda := none
cpu.size_mb := 1200
# Where no registry answers, Debian's own system with its Python stands in for the base.
cpu.stand_in := debian
