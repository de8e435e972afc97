"""Proof that a GPU can be used, by launching a kernel on it; and what is wrong where it can't, in words."""

import ctypes
from dataclasses import dataclass

import torch

from appliance.errors import ApplianceError

_DRIVER = "libcuda.so.1"
_HAND_IN = "hand the GPU in: --gpus all (with the NVIDIA container toolkit), on a Jetson --runtime=nvidia"


@dataclass(frozen=True, slots=True)
class Gpu:
    """``architecture``: of its machine code, such as ``sm_90``."""

    name: str
    architecture: str


def prove_gpu(device: torch.device) -> Gpu:
    """Launch a kernel on a CUDA device and read its result.

    Raises:
        ApplianceError: code ``no_gpu``: PyTorch without CUDA, no driver, no GPU, code for other GPUs only, or a kernel
            that fails.
    """
    if torch.version.cuda is None:
        raise _refused(
            "this PyTorch is built without CUDA", "run an image for GPUs, or choose --device cpu (WLK_DEVICE)"
        )
    if not torch.cuda.is_available():
        raise _why_not()
    properties = torch.cuda.get_device_properties(device)
    found = Gpu(str(properties.name), f"sm_{properties.major}{properties.minor}")
    built_for = torch.cuda.get_arch_list()
    try:
        launched = float(torch.arange(8, device=device, dtype=torch.float32).sum())
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        if found.architecture not in built_for:
            reason = (
                f"this image holds code for {', '.join(built_for)}, and the {found.name} needs {found.architecture}"
            )
        raise _refused(
            f"no kernel can be launched on the GPU: {reason}", "run the image of this board, or --device cpu"
        ) from error
    if launched != sum(range(8)):
        raise _refused(
            f"the {found.name} computes wrongly: {launched} instead of 28", "look at the driver's log: dmesg"
        )
    return found


def _why_not() -> ApplianceError:
    """What keeps PyTorch from any GPU, asked of the driver itself."""
    try:
        driver = ctypes.CDLL(_DRIVER)
    except OSError:
        return _refused(f"no NVIDIA driver here: {_DRIVER} can't be loaded", _HAND_IN)
    status = int(driver.cuInit(0))
    if status:
        message = ctypes.c_char_p()
        driver.cuGetErrorString(status, ctypes.byref(message))
        said = message.value.decode() if message.value else "unknown error"
        return _refused(f"the NVIDIA driver does not start: {said} ({status})", _HAND_IN)
    count = ctypes.c_int()
    driver.cuDeviceGetCount(ctypes.byref(count))
    if count.value == 0:
        return _refused("the NVIDIA driver is here, and no GPU", _HAND_IN)
    version = ctypes.c_int()
    driver.cuDriverGetVersion(ctypes.byref(version))
    had = f"{version.value // 1000}.{version.value % 1000 // 10}"
    return _refused(
        f"PyTorch can't use the GPU: it is built for CUDA {torch.version.cuda}, the driver knows CUDA up to {had}",
        "install a newer NVIDIA driver on this host, or an older image",
    )


def _refused(message: str, hint: str) -> ApplianceError:
    return ApplianceError(message, hint, code="no_gpu")
