"""Making the missing half: decoder weights from a CTranslate2 model, a CTranslate2 model from a checkpoint."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from appliance.errors import ApplianceError
from appliance.pair.ct2_file import Ct2File
from appliance.pair.dimensions import Dimensions
from appliance.pair.weight_names import Shape, Stack, decoder_shapes, decoder_stacks, encoder_shapes, encoder_stacks

if TYPE_CHECKING:
    from appliance.pair.checkpoint import Checkpoint

Half = NDArray[np.float16]
_PREFIX = "decoder."


def unstack(file: Ct2File, stacks: Iterable[Stack]) -> dict[str, Half]:
    """Weights of a CTranslate2 model in float16 under their reference names, views where the file is float16.

    Raises:
        ApplianceError: the model is quantized, or is no plain Whisper model (a key bias that is not zero).
    """
    weights: dict[str, Half] = {}
    for stack in stacks:
        whole = file.array(stack.ct2)
        if whole.dtype not in (np.float16, np.float32):
            raise ApplianceError(
                f"{file.path}: {stack.ct2} is {whole.dtype}: a quantized model has lost what the other half needs",
                "use a float16 or float32 conversion of the model",
            )
        if whole.shape[0] % len(stack.parts):
            raise _misfit(file.path, f"{stack.ct2} has {whole.shape[0]} rows, not {len(stack.parts)} equal parts")
        for name, part in zip(stack.parts, np.split(whole, len(stack.parts)), strict=True):
            if name is not None:
                weights[name] = to_half(part, f"{file.path}: {stack.ct2}")
            elif part.any():
                raise _misfit(file.path, f"{stack.ct2} has key biases, which Whisper does not have")
    return weights


def decoder_from_ct2(file: Ct2File) -> dict[str, Half]:
    """The decoder's weights, keyed as in ``decoder.safetensors``.

    Raises:
        ApplianceError: as `unstack`, or a weight has a shape that does not fit the others.
    """
    dimensions = file.dimensions()
    weights = {name.removeprefix(_PREFIX): half for name, half in unstack(file, decoder_stacks(dimensions)).items()}
    _check_shapes(file.path, weights, decoder_shapes(dimensions))
    return weights


def checkpoint_from_ct2(file: Ct2File) -> dict[str, Half]:
    """Every weight of the model under the reference names (``encoder.`` and ``decoder.``).

    Raises:
        ApplianceError: as `decoder_from_ct2`.
    """
    dimensions = file.dimensions()
    weights = unstack(file, [*encoder_stacks(dimensions), *decoder_stacks(dimensions)])
    shapes = {f"encoder.{name}": shape for name, shape in encoder_shapes(dimensions).items()}
    shapes |= {f"{_PREFIX}{name}": shape for name, shape in decoder_shapes(dimensions).items()}
    _check_shapes(file.path, weights, shapes)
    return weights


def halves(checkpoint: "Checkpoint") -> dict[str, Half]:
    """A checkpoint's weights in float16, under the same names; views where they are float16.

    Raises:
        ApplianceError: a value does not fit float16.
    """
    return {
        name: to_half(weight.half().numpy(), f"{checkpoint.path}: {name}")
        for name, weight in checkpoint.weights.items()
    }


def write_ct2(folder: Path, dimensions: Dimensions, weights: Mapping[str, Half], vocabulary: list[str]) -> None:
    """Write a CTranslate2 Whisper model in float16; of its side files only those CTranslate2 itself writes.

    Args:
        weights: under the reference names, with their ``encoder.`` and ``decoder.`` prefixes.
    """
    spec = fill_spec(dimensions, weights, vocabulary)
    # Whisper ties its output projection to the token embedding. (spec.optimize() would find that out
    # by comparing every weight with every other.)
    spec.decoder.projection.weight = "decoder/embeddings/weight"
    spec.save(str(folder))


def fill_spec(dimensions: Dimensions, weights: Mapping[str, Half], vocabulary: list[str]) -> Any:
    """A validated ``ctranslate2.specs.WhisperSpec`` with these weights (see `write_ct2`)."""
    from ctranslate2.specs import WhisperSpec

    spec = WhisperSpec(
        dimensions.n_audio_layer, dimensions.n_audio_head, dimensions.n_text_layer, dimensions.n_text_head
    )
    for stack in (*encoder_stacks(dimensions), *decoder_stacks(dimensions)):
        _assign(spec, stack.ct2, _stacked(stack, weights))
    spec.decoder.projection.weight = weights["decoder.token_embedding.weight"]
    spec.register_vocabulary(vocabulary)
    spec.validate()
    return spec


def to_half(values: NDArray[Any], what: str) -> Half:
    """float16 of ``values``, without a copy where they are that already.

    Raises:
        ApplianceError: a value is not finite, or too large for float16.
    """
    with np.errstate(over="ignore"):
        half: Half = values.astype(np.float16, copy=False)
    if not np.isfinite(half).all():
        raise _misfit(Path(what), "it has values that are not finite in float16")
    return half


def _stacked(stack: Stack, weights: Mapping[str, Half]) -> Half:
    width = next(weights[name].shape[0] for name in stack.parts if name is not None)
    parts = [np.zeros(width, np.float16) if name is None else weights[name] for name in stack.parts]
    return np.ascontiguousarray(parts[0]) if len(parts) == 1 else np.concatenate(parts)


def _assign(spec: Any, name: str, value: Half) -> None:
    """Set ``encoder/layer_0/ffn/linear_1/bias`` and the like on a specification."""
    *scopes, last = name.split("/")
    for scope in scopes:
        head, _, index = scope.rpartition("_")
        # A numbered scope is an attribute of its own in some specifications, and a place in a list in others.
        spec = getattr(spec, scope) if hasattr(spec, scope) else getattr(spec, head)[int(index)]
    setattr(spec, last, value)


def _check_shapes(path: Path, weights: Mapping[str, Half], shapes: Mapping[str, Shape]) -> None:
    for name, shape in shapes.items():
        if weights[name].shape != shape:
            raise _misfit(path, f"{name} is {weights[name].shape}, expected {shape}")


def _misfit(path: Path, why: str) -> ApplianceError:
    return ApplianceError(
        f"{path} can't be made into a pair: {why}", "use a published Whisper model", code="broken_model"
    )
