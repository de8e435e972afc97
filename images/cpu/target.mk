# The CPU target: x86-64, no accelerator.
TARGETS += cpu
