import subprocess
import sys

import pytest

from appliance.doctor import device
from appliance.doctor.device import check_device


def test_a_processor() -> None:
    found = check_device("cpu")
    assert found.severity == "ok" and "cores" in found.seen


@pytest.mark.parametrize(
    ("program", "severity", "seen"),
    [
        ("print('H200 (sm_90)')", "ok", "H200 (sm_90): a kernel was launched on it"),
        ("import sys; sys.exit('no driver\\nhand it in')", "error", "no driver"),
        ("raise OSError('libtorch is lost')", "error", "OSError: libtorch is lost"),
        ("import sys; sys.exit(1)", "error", "the GPU can't be asked"),
        ("import time; time.sleep(9)", "error", "the GPU does not answer within 0 s"),
    ],
)
def test_what_a_gpu_says(program: str, severity: str, seen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_PROGRAM", program)
    monkeypatch.setattr(device, "_LIMIT_S", 0.3)
    found = check_device("cuda")
    assert (found.severity, found.seen) == (severity, seen)
    assert found.remedy != "" or severity == "ok" or seen == "the GPU can't be asked"


def test_the_program_is_one() -> None:
    """What runs apart must at least be Python whose imports are there: here it finds no GPU, or one."""
    code = "import ast, sys; ast.parse(sys.argv[1])"
    assert subprocess.run([sys.executable, "-c", code, device._PROGRAM], check=False).returncode == 0
