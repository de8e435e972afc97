"""Matrix products of the decoder: plain ones, and ones with int8 weights for the CPU.

A decoding step reads every weight once for a handful of rows, so on a CPU its time is the bytes of the
weights. Method: dynamic quantisation (weights symmetric per output channel, activations affine), as PyTorch's own
``torch.ao.quantization.quantize_dynamic`` does it; the kernels are FBGEMM's and oneDNN's. They have one scale for all
of a call, which would be that of its largest row (a prompt's first token, another stream's), so rows are brought to
the same range before, and back after.
"""

import warnings
from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Linear = Callable[[Tensor], Tensor]
"""``[n, in]`` to ``[n, out]``, in the type it was made for; read-only, so any number of threads may share it."""

Precision = Literal["float32", "float16", "int8"]

_MAX_INT8 = 127
_LEAST = 1e-12
_ROWS_AT_ONCE = 4096


def float_linear(weight: Tensor, bias: Tensor | None) -> Linear:
    """A product in the weight's own type and on its device."""
    return lambda x: F.linear(x, weight, bias)


def int8_linear(weight: Tensor, bias: Tensor | None, *, many_rows: bool = False) -> Linear:
    """A product of float32 rows with int8 weights.

    Args:
        weight: float ``[out, in]``, on the CPU.
        bias: float ``[out]``.
        many_rows: made for hundreds of rows at once whose range is the same (encoder states), not for a few (tokens).
    """
    added = torch.zeros(weight.shape[0]) if bias is None else bias.float()
    packed = _pack(weight.float(), added, _kernels(many_rows))
    # Without VNNI, products of full-range activations saturate in 16 bits; with 7 bits they fit.
    reduce_range = not _has_vnni()

    def multiply(x: Tensor) -> Tensor:
        # PyTorch asks each argument that is no tensor whether it overrides functions. The packed weights answer with a
        # C++ exception, which took longer than a small product.
        with torch._C.DisableTorchFunctionSubclass():
            made: Tensor = torch.ops.quantized.linear_dynamic(x, packed, reduce_range)
        return made

    def product(x: Tensor) -> Tensor:
        if many_rows or x.shape[0] == 1:
            return multiply(x)
        scale = x.abs().amax(1, keepdim=True).clamp_min_(_LEAST)
        return torch.lerp(added, multiply(x / scale), scale)

    return product


def int8_rows(weight: Tensor) -> Linear:
    """Rows of a float weight ``[rows, width]`` by their numbers, kept as int8 with a scale for each row."""
    scale = (weight.abs().amax(1, keepdim=True).float() / _MAX_INT8).clamp_min(_LEAST)
    kept = torch.empty(weight.shape, dtype=torch.int8)
    for first in range(0, weight.shape[0], _ROWS_AT_ONCE):
        part = slice(first, first + _ROWS_AT_ONCE)
        kept[part] = (weight[part].float() / scale[part]).round().to(torch.int8)
    return lambda ids: kept[ids] * scale[ids]


def int8_available() -> bool:
    """Whether this PyTorch has int8 kernels for this CPU."""
    return bool({"x86", "onednn", "fbgemm"} & set(torch.backends.quantized.supported_engines))


def _kernels(many_rows: bool) -> str:
    """Which kernels to use: measured, FBGEMM ("x86") is faster for few rows and oneDNN for many."""
    wanted = ("onednn", "x86", "fbgemm") if many_rows else ("x86", "fbgemm", "onednn")
    return next(name for name in wanted if name in torch.backends.quantized.supported_engines)


def _pack(weight: Tensor, bias: Tensor, kernels: str) -> Any:
    scale = (weight.abs().amax(1).double() / _MAX_INT8).clamp_min(_LEAST)
    zero = torch.zeros(weight.shape[0], dtype=torch.long)
    engine = torch.backends.quantized.engine
    try:
        torch.backends.quantized.engine = kernels
        with warnings.catch_warnings():
            # PyTorch announces a successor for its quantised tensors; the version is pinned.
            warnings.filterwarnings("ignore", message=".*quantize.*deprecated", category=UserWarning)
            quantised = torch.quantize_per_channel(weight, scale, zero, 0, torch.qint8)
        return torch.ops.quantized.linear_prepack(quantised, bias)
    finally:
        torch.backends.quantized.engine = engine


def _has_vnni() -> bool:
    return bool(torch.cpu.get_capabilities().get("avx512_vnni", False))
