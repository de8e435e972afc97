"""What start-up says of a GPU: on machines without one the reasons, with one its name."""

import ctypes

import pytest
import torch

from appliance.errors import ApplianceError
from appliance.speech import gpu
from appliance.speech.gpu import prove_gpu

GPU = torch.device("cuda")


@pytest.mark.skipif(torch.version.cuda is not None, reason="this PyTorch is built with CUDA")
def test_a_pytorch_without_cuda_is_told() -> None:
    with pytest.raises(ApplianceError, match="built without CUDA") as raised:
        prove_gpu(GPU)
    assert raised.value.code == "no_gpu" and "--device cpu" in raised.value.hint


def test_a_missing_driver_is_told_with_how_to_hand_the_gpu_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "_DRIVER", "libnone.so.1")
    error = gpu._why_not()
    assert "no NVIDIA driver here" in error.message and "--gpus all" in error.hint and "--runtime=nvidia" in error.hint


class Driver:
    """Answers like ``libcuda``."""

    def __init__(self, status: int = 0, gpus: int = 1, version: int = 12040) -> None:
        self._answers = {"status": status, "gpus": gpus, "version": version}

    def cuInit(self, flags: int) -> int:
        return self._answers["status"]

    def cuGetErrorString(self, status: int, message: object) -> int:
        message._obj.value = b"no CUDA-capable device is detected"  # type: ignore[attr-defined]
        return 0

    def cuDeviceGetCount(self, count: object) -> int:
        count._obj.value = self._answers["gpus"]  # type: ignore[attr-defined]
        return 0

    def cuDriverGetVersion(self, version: object) -> int:
        version._obj.value = self._answers["version"]  # type: ignore[attr-defined]
        return 0


@pytest.mark.parametrize(
    ("driver", "message"),
    [
        (Driver(status=100), r"the NVIDIA driver does not start: no CUDA-capable device is detected \(100\)"),
        (Driver(gpus=0), "the NVIDIA driver is here, and no GPU"),
        (Driver(), "the driver knows CUDA up to 12.4"),
    ],
)
def test_what_a_driver_says_is_passed_on(monkeypatch: pytest.MonkeyPatch, driver: Driver, message: str) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: driver)
    with pytest.raises(ApplianceError, match=message):
        raise gpu._why_not()
