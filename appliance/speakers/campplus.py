"""CAM++: one vector for the voice in a stretch of speech.

Method: Wang et al., CAM++: A Fast and Efficient Network for Speaker Verification Using Context-Aware Masking
(Interspeech 2023): a small 2D residual network over the features, then densely connected time-delay layers, each masked
by its context; statistics pooling. Weights: 3D-Speaker's speech_campplus_sv_zh_en_16k-common_advanced, Apache-2.0.
"""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from appliance.errors import ApplianceError

DIMENSION = 192

_BLOCKS = ((12, 1), (24, 2), (16, 2))
"""Layers of each dense block, and the dilation of their convolutions."""
_GROWTH = 32
"""Channels that each layer adds."""
_SEGMENT_FRAMES = 100
"""Frames (20 ms) of the local context in a mask."""
_BATCH_NORM_EPS = 1e-5

_Weights = Mapping[str, torch.Tensor]


class CamPlusPlus:
    """The network, on the CPU. Any number of threads may call it at once."""

    def __init__(self, weights: _Weights) -> None:
        """Takes the weights by the names of 3D-Speaker's module.

        Raises:
            KeyError: one is missing.
        """
        self._head = _Head(weights)
        self._first = _Convolution.read(weights, "xvector.tdnn.linear", "xvector.tdnn.nonlinear.batchnorm")
        self._blocks = [_Block(weights, number, *block) for number, block in enumerate(_BLOCKS, start=1)]
        self._last = _scale(weights, "xvector.out_nonlinear.batchnorm")
        self._out = _Convolution.read(weights, "xvector.dense.linear", "xvector.dense.nonlinear.batchnorm")

    @torch.inference_mode()
    def embed(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Unit vectors ``[windows, 192]`` of log-mel features ``[windows, frames, 80]``, 100 frames a second.

        The mean over a window's frames is taken off first, as in training.
        """
        mels = torch.from_numpy(features).transpose(1, 2)
        x = self._head(mels - mels.mean(dim=2, keepdim=True))
        x = functional.relu(functional.conv1d(x, self._first.weight, self._first.bias, stride=2, padding=2))
        for block in self._blocks:
            x = block(x)
        x = _affine_relu(x, self._last)
        statistics = torch.cat([x.mean(dim=2), x.std(dim=2)], dim=1)
        voices = functional.linear(statistics, self._out.weight[:, :, 0], self._out.bias)
        return functional.normalize(voices, dim=1).numpy()


def load_campplus(file: Path) -> CamPlusPlus:
    """The network with the weights of a file.

    Raises:
        ApplianceError: it is missing, or holds something else.
    """
    if not file.is_file():
        raise ApplianceError(
            f"no voice model at {file}",
            "wlk-appliance fetch campplus, then copy the file there, or turn diarization off",
            code="missing_model",
        )
    try:
        return CamPlusPlus(torch.load(file, map_location="cpu", weights_only=True))
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ApplianceError(
            f"{file} is not a usable CAM++ model: {error}",
            "copy the file of wlk-appliance fetch campplus there",
            code="missing_model",
        ) from error


@dataclass(frozen=True, slots=True)
class _Convolution:
    """Weights of a convolution with the batch normalization after it folded in."""

    weight: torch.Tensor
    bias: torch.Tensor

    @classmethod
    def read(cls, weights: _Weights, name: str, norm: str) -> "_Convolution":
        weight = weights[f"{name}.weight"]
        scale, shift = _scale(weights, norm)
        return cls((weight * scale.view(-1, *[1] * (weight.dim() - 1))).contiguous(), shift)


_Affine = tuple[torch.Tensor, torch.Tensor]


def _scale(weights: _Weights, name: str) -> _Affine:
    """A batch normalization as a factor and a summand for each channel."""
    scale = (weights[f"{name}.running_var"] + _BATCH_NORM_EPS).rsqrt()
    scale = scale * weights.get(f"{name}.weight", torch.ones(()))
    return scale, weights.get(f"{name}.bias", torch.zeros(())) - weights[f"{name}.running_mean"] * scale


def _affine_relu(x: torch.Tensor, affine: _Affine) -> torch.Tensor:
    """Of ``[windows, channels, frames]``."""
    scale, shift = affine
    return torch.addcmul(shift[:, None], x, scale[:, None]).relu_()


class _Head:
    """2D convolutions over bands and frames; bands shrink eightfold, frames stay."""

    def __init__(self, weights: _Weights) -> None:
        self._first = _Convolution.read(weights, "head.conv1", "head.bn1")
        self._residual = [
            _Residual(weights, f"head.layer{layer}.{number}", stride)
            for layer in (1, 2)
            for number, stride in enumerate((2, 1))
        ]
        self._last = _Convolution.read(weights, "head.conv2", "head.bn2")

    def __call__(self, mels: torch.Tensor) -> torch.Tensor:
        """``[windows, 80, frames]`` to ``[windows, 320, frames]``."""
        x = mels[:, None].contiguous(memory_format=torch.channels_last)
        x = functional.conv2d(x, self._first.weight, self._first.bias, padding=1).relu_()
        for residual in self._residual:
            x = residual(x)
        x = functional.conv2d(x, self._last.weight, self._last.bias, stride=(2, 1), padding=1).relu_()
        return x.contiguous().flatten(1, 2)


class _Residual:
    def __init__(self, weights: _Weights, name: str, stride: int) -> None:
        self._stride = (stride, 1)
        self._first = _Convolution.read(weights, f"{name}.conv1", f"{name}.bn1")
        self._second = _Convolution.read(weights, f"{name}.conv2", f"{name}.bn2")
        self._shortcut = _Convolution.read(weights, f"{name}.shortcut.0", f"{name}.shortcut.1") if stride > 1 else None

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        out = functional.conv2d(x, self._first.weight, self._first.bias, stride=self._stride, padding=1).relu_()
        out = functional.conv2d(out, self._second.weight, self._second.bias, padding=1)
        if self._shortcut:
            x = functional.conv2d(x, self._shortcut.weight, self._shortcut.bias, stride=self._stride)
        return out.add_(x).relu_()


class _Block:
    """Densely connected layers, each seeing what all before it gave, and a layer that halves the channels."""

    def __init__(self, weights: _Weights, number: int, layers: int, dilation: int) -> None:
        self._layers = [
            _Layer(weights, f"xvector.block{number}.tdnnd{layer}", dilation) for layer in range(1, layers + 1)
        ]
        self._norm = _scale(weights, f"xvector.transit{number}.nonlinear.batchnorm")
        self._halving = weights[f"xvector.transit{number}.linear.weight"]

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        windows, channels, frames = x.shape
        filled = x.new_empty(windows, channels + len(self._layers) * _GROWTH, frames)
        filled[:, :channels] = x
        for layer in self._layers:
            filled[:, channels : channels + _GROWTH] = layer(filled[:, :channels])
            channels += _GROWTH
        return functional.conv1d(_affine_relu(filled, self._norm), self._halving)


class _Layer:
    """A bottleneck, a dilated convolution, and a mask on it from the whole window and the 2 s around."""

    def __init__(self, weights: _Weights, name: str, dilation: int) -> None:
        self._dilation = dilation
        self._norm = _scale(weights, f"{name}.nonlinear1.batchnorm")
        self._narrow = _Convolution.read(weights, f"{name}.linear1", f"{name}.nonlinear2.batchnorm")
        self._local = weights[f"{name}.cam_layer.linear_local.weight"]
        self._mask = [
            (weights[f"{name}.cam_layer.{linear}.weight"], weights[f"{name}.cam_layer.{linear}.bias"])
            for linear in ("linear1", "linear2")
        ]

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.conv1d(_affine_relu(x, self._norm), self._narrow.weight, self._narrow.bias).relu_()
        local = functional.conv1d(x, self._local, padding=self._dilation, dilation=self._dilation)
        return local.mul_(self._masked(x))

    def _masked(self, x: torch.Tensor) -> torch.Tensor:
        frames = x.shape[2]
        segments = functional.avg_pool1d(x, _SEGMENT_FRAMES, _SEGMENT_FRAMES, ceil_mode=True)
        context = segments + x.mean(dim=2, keepdim=True)
        (first, first_bias), (second, second_bias) = self._mask
        mask = functional.conv1d(functional.conv1d(context, first, first_bias).relu_(), second, second_bias).sigmoid_()
        return mask.repeat_interleave(_SEGMENT_FRAMES, dim=2)[:, :, :frames]
