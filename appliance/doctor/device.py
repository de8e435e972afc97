"""Where the models run: on a GPU, a kernel is launched to see."""

import os
import sys

from appliance.doctor.finding import Finding, failed
from appliance.errors import ApplianceError
from appliance.run import run

_LIMIT_S = 60.0
_PROGRAM = """
import sys, torch
from appliance.errors import ApplianceError
from appliance.speech.gpu import prove_gpu
try:
    found = prove_gpu(torch.device("cuda"))
except ApplianceError as error:
    sys.exit(f"{error.message}\\n{error.hint}")
print(f"{found.name} ({found.architecture})")
"""
"""In a process of its own: a driver that hangs does not hang the doctor, and the GPU's memory is given back."""


def check_device(device: str) -> Finding:
    if device == "cpu":
        return Finding("device", "ok", f"cpu: {len(os.sched_getaffinity(0))} cores")
    try:
        done = run([sys.executable, "-c", _PROGRAM], check=False, capture=True, timeout_s=_LIMIT_S)
    except ApplianceError:
        return Finding("device", "error", f"the GPU does not answer within {_LIMIT_S:.0f} s", "on the host: nvidia-smi")
    if done.returncode == 0:
        return Finding("device", "ok", f"{done.stdout.strip()}: a kernel was launched on it")
    lines = done.stderr.strip().splitlines() or ["the GPU can't be asked"]
    if "Traceback" in done.stderr:
        return Finding("device", "error", lines[-1], "on the host: nvidia-smi; or WLK_DEVICE=cpu")
    return failed("device", ApplianceError(lines[0], " ".join(lines[1:])))
