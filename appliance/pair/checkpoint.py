"""Reading an OpenAI ``.pt`` checkpoint: weights only, memory-mapped, never its code.

The only module of this package, besides `decoder_weights` and the proof, that imports torch.
"""

import pickle
import struct
import zipfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO, Any

import torch

from appliance.errors import ApplianceError
from appliance.pair.dimensions import Dimensions
from appliance.pair.weight_names import Shape, decoder_shapes, encoder_shapes

DAMAGE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
)
"""What `torch.load` raises of a damaged file: it takes a pickle's steps without looking whether they make sense."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Dimensions and weights under the reference names (``encoder.`` and ``decoder.`` prefixes)."""

    path: Path
    dimensions: Dimensions
    weights: dict[str, torch.Tensor]


def open_checkpoint(path: Path, *, with_encoder: bool) -> Checkpoint:
    """Map a ``.pt`` file.

    Args:
        with_encoder: also require the encoder weights (a site's decoder file may lack them).

    Raises:
        ApplianceError: not a checkpoint, one that holds code, truncated, or with weights missing or misshapen.
    """
    content = _load(path)
    if not isinstance(content, dict) or not {"dims", "model_state_dict"} <= content.keys():
        raise _broken(path, "it has no 'dims' and 'model_state_dict'")
    dimensions = _dimensions(path, content["dims"])
    state: Any = content["model_state_dict"]
    if not isinstance(state, dict):
        raise _broken(path, "its 'model_state_dict' is not a mapping of names to weights")
    if max(dimensions.n_text_layer, dimensions.n_audio_layer if with_encoder else 0) > len(state):
        raise _broken(path, f"it says {dimensions.n_text_layer} decoder layers, but holds {len(state)} weights")
    wanted = {f"decoder.{name}": shape for name, shape in decoder_shapes(dimensions).items()}
    if with_encoder:
        wanted |= {f"encoder.{name}": shape for name, shape in encoder_shapes(dimensions).items()}
    weights = {name: _checked(path, name, state.get(name), shape) for name, shape in wanted.items()}
    extra = f"decoder.blocks.{dimensions.n_text_layer}.attn.query.weight"
    if extra in state:
        raise _broken(path, f"it says {dimensions.n_text_layer} decoder layers, but has more")
    return Checkpoint(path, dimensions, weights)


def _load(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            mappable = file.read(4) == b"PK\x03\x04"
        if mappable:
            with path.open("rb") as file:
                refuse_compressed(file)
        return torch.load(path, map_location="cpu", mmap=mappable, weights_only=True)
    except FileNotFoundError as error:
        raise ApplianceError(
            f"no such file: {path}", "fetch or copy the decoder file", code="missing_decoder"
        ) from error
    except pickle.UnpicklingError as error:
        raise ApplianceError(
            f"{path} holds more than weights (or is no checkpoint), and was not loaded: loading it could run code",
            "use OpenAI's published .pt file, or one saved from its 'dims' and 'model_state_dict'",
            code="unsafe_checkpoint",
        ) from error
    except DAMAGE as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise _broken(path, f"it can't be read ({first})") from error


def refuse_compressed(file: IO[bytes]) -> None:
    """Raise a `ValueError` for an archive with compressed parts: a few bytes could be gigabytes, and torch makes none.

    Afterwards the file is read from its beginning again.
    """
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise ValueError("it is compressed, as no checkpoint is")
    file.seek(0)


def _dimensions(path: Path, said: Any) -> Dimensions:
    names = [field.name for field in fields(Dimensions)]
    if not isinstance(said, dict) or not all(isinstance(said.get(name), int) and said[name] > 0 for name in names):
        raise _broken(path, "its 'dims' do not hold the ten sizes of a Whisper model")
    return Dimensions(**{name: said[name] for name in names})


def _checked(path: Path, name: str, value: Any, shape: Shape) -> torch.Tensor:
    if not isinstance(value, torch.Tensor):
        raise _broken(path, f"it has no weight {name!r}")
    if tuple(value.shape) != shape or not value.is_floating_point():
        raise _broken(path, f"{name} is {value.dtype} {tuple(value.shape)}, expected a float {shape}")
    return value


def _broken(path: Path, why: str) -> ApplianceError:
    return ApplianceError(
        f"{path} is not a usable Whisper checkpoint: {why}",
        "it may be truncated or of another kind: copy or fetch it again",
        code="broken_model",
    )
