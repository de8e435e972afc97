# The CPU target: x86-64, no accelerator.
TARGETS += cpu
WHEEL_LOCKS_cpu := images/cpu/requirements.lock images/cpu/pip.lock
