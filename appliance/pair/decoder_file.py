"""The baked decoder file: safetensors, float16, decoder weights only; a format that can't run code."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from appliance.errors import ApplianceError
from appliance.pair.weight_names import Shape

FILE_NAME = "decoder.safetensors"
_FLOATS = ("F16", "F32", "BF16")


def write_decoder(path: Path, weights: Mapping[str, NDArray[np.float16]]) -> None:
    """Write float16 weights by their reference names without ``decoder.``; same weights, same bytes.

    The file is readable by everyone, since the server that mounts it runs as a user of its own.
    """
    save_file({name: np.ascontiguousarray(array) for name, array in weights.items()}, path, {"format": "pt"})
    path.chmod(0o644)


def read_header(path: Path) -> dict[str, Shape]:
    """Names and shapes of a safetensors file, without its data.

    Raises:
        ApplianceError: truncated, not safetensors, or not made of floats.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            names = list(file.keys())
            slices = {name: file.get_slice(name) for name in names}
            for name, part in slices.items():
                if part.get_dtype() not in _FLOATS:
                    raise _broken(path, f"{name} is {part.get_dtype()}, expected one of {', '.join(_FLOATS)}")
            return {name: tuple(part.get_shape()) for name, part in slices.items()}
    except (SafetensorError, OSError) as error:
        raise _broken(path, str(error)) from error


def read_weight(path: Path, name: str) -> NDArray[Any] | None:
    """One weight; ``None`` where its type has no numpy equivalent (bfloat16).

    Raises:
        ApplianceError: it can't be read.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            if file.get_slice(name).get_dtype() == "BF16":
                return None
            weight: NDArray[Any] = file.get_tensor(name)
            return weight
    except (SafetensorError, OSError) as error:
        raise _broken(path, str(error)) from error


def _broken(path: Path, why: str) -> ApplianceError:
    return ApplianceError(
        f"{path} is not a usable decoder file: {why}",
        "it may be truncated: bake the pair again, or copy the file again",
        code="broken_model",
    )
