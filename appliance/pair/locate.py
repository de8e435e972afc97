"""Finding a pair on disk and refusing one that does not fit, from file headers alone.

A pair is a CTranslate2 folder for the encoder and a folder with one PyTorch decoder file: baked by us
(``decoder.safetensors``, with ``pair.json`` beside the two folders) or a site's own (one ``.pt``).
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.errors import ApplianceError
from appliance.pair.ct2_file import Ct2File, open_ct2
from appliance.pair.decoder_file import FILE_NAME, read_header, read_weight
from appliance.pair.dimensions import Dimensions
from appliance.pair.record import RECORD_NAME, PairRecord, read_config_heads, read_record
from appliance.pair.weight_names import decoder_shapes

ENCODER_PREFIX = "faster-whisper-"
DECODER_PREFIX = "pytorch-whisper-"

_NORM, _NORM_CT2 = "ln.weight", "decoder/layer_norm/gamma"
_ROUNDING = 0.01  # relative; float16 rounds by 0.0005, bfloat16 by 0.004

AlignmentHeads = tuple[tuple[int, int], ...]
"""(decoder layer, head) of each cross-attention head that follows the audio."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two halves that fit. ``decoder_file`` is a ``decoder.safetensors`` or a site's ``.pt``."""

    name: str
    encoder_dir: Path
    decoder_file: Path
    dimensions: Dimensions
    alignment_heads: AlignmentHeads


@dataclass(frozen=True, slots=True)
class _TextSizes:
    width: int
    vocab: int
    context: int
    layers: int


def find_pair(models_dir: Path, model: str) -> Pair:
    """Open the pair of a model in ``models_dir/<model>/`` or directly in ``models_dir/``.

    Raises:
        ApplianceError: it is not there, or not usable (see `open_pair`).
    """
    encoder, decoder = f"{ENCODER_PREFIX}{model}", f"{DECODER_PREFIX}{model}"
    for parent in (models_dir / model, models_dir):
        if (parent / encoder).is_dir():
            return open_pair(parent / encoder, parent / decoder)
    if not models_dir.is_dir():
        raise ApplianceError(f"no such folder: {models_dir}", "name the folder that holds the models")
    there = sorted({path.name.removeprefix(ENCODER_PREFIX) for path in _encoder_dirs(models_dir)})
    raise ApplianceError(
        f"no model {model!r} in {models_dir}: neither {model}/{encoder} nor {encoder} is a folder there",
        f"it has: {', '.join(there)}" if there else f"make one with: wlk-appliance bake {model}",
        code="missing_encoder",
    )


def open_pair(encoder_dir: Path, decoder_dir: Path) -> Pair:
    """Check that two folders make a pair; reads headers, not weights.

    Raises:
        ApplianceError: a folder or file is missing or broken, the halves are of different models, or
            nothing says which heads align.
    """
    _check_encoder_files(encoder_dir)
    decoder_file = _decoder_file(decoder_dir, encoder_dir)
    _check_readable(*encoder_dir.iterdir(), decoder_file)
    encoder = open_ct2(encoder_dir / "model.bin")
    dimensions = encoder.dimensions()
    _check_fit(encoder_dir, encoder, decoder_file)
    record = find_record(encoder_dir, decoder_dir)
    if record is not None and record.dimensions != dimensions:
        raise ApplianceError(
            f"{encoder_dir.parent / RECORD_NAME} is not about {encoder_dir / 'model.bin'}: their sizes differ",
            f"bake the pair again: wlk-appliance bake {record.name}",
            code="mismatched_pair",
        )
    heads = record.alignment_heads if record is not None else read_config_heads(encoder_dir / "config.json")
    if not heads or not all(
        0 <= layer < dimensions.n_text_layer and 0 <= head < dimensions.n_text_head for layer, head in heads
    ):
        raise ApplianceError(
            f"no usable alignment heads for {encoder_dir}: {'none given' if not heads else list(heads)}",
            f"put 'alignment_heads' ([layer, head] pairs; {dimensions.n_text_layer} layers of {dimensions.n_text_head} "
            f"heads here) into {encoder_dir / 'config.json'}, as the model's publisher gives them",
            code="missing_alignment_heads",
        )
    name = record.name if record is not None else _short_name(encoder_dir)
    return Pair(name, encoder_dir, decoder_file, dimensions, heads)


def _encoder_dirs(models_dir: Path) -> list[Path]:
    pattern = f"{ENCODER_PREFIX}*"
    return [path for glob in (pattern, f"*/{pattern}") for path in models_dir.glob(glob) if path.is_dir()]


def _check_encoder_files(encoder_dir: Path) -> None:
    if not encoder_dir.is_dir():
        raise ApplianceError(
            f"encoder folder not found: {encoder_dir}",
            "give the CTranslate2 folder of the model, for example /data/whisper_models/faster-whisper-medium",
            code="missing_encoder",
        )
    for names in (("model.bin",), ("config.json",), ("tokenizer.json",), ("vocabulary.json", "vocabulary.txt")):
        if not any((encoder_dir / name).is_file() for name in names):
            raise ApplianceError(
                f"{encoder_dir} has no {' or '.join(names)}",
                f"copy the missing file from where the model came from, or bake it: "
                f"wlk-appliance bake {_short_name(encoder_dir)}",
                code="missing_encoder" if names == ("model.bin",) else "missing_file",
            )


def _check_readable(*files: Path) -> None:
    for file in files:
        if not os.access(file, os.R_OK):
            raise ApplianceError(
                f"{file} may not be read by user {os.getuid()}, who runs this",
                f"chmod -R a+rX {file.parent}",
                code="unreadable_file",
            )


def _decoder_file(decoder_dir: Path, encoder_dir: Path) -> Path:
    name = _short_name(encoder_dir)
    hint = (
        f"copy the PyTorch decoder of {name!r} there ({name}.pt or {FILE_NAME}), "
        f"or make it with: wlk-appliance bake {name}"
    )
    if not decoder_dir.is_dir():
        raise ApplianceError(f"decoder folder not found: {decoder_dir}", hint, code="missing_decoder")
    files = sorted(path for path in decoder_dir.iterdir() if path.suffix == ".pt" or path.name == FILE_NAME)
    if not files:
        raise ApplianceError(
            f"{decoder_dir} has no decoder: neither {FILE_NAME} nor a .pt", hint, code="missing_decoder"
        )
    if len(files) > 1:
        listed = ", ".join(path.name for path in files)
        raise ApplianceError(
            f"{decoder_dir} has {len(files)} decoder files ({listed}), and which one to use is not for guessing",
            "keep exactly one .pt or decoder.safetensors in the folder",
            code="ambiguous_decoder",
        )
    return files[0]


def _check_fit(encoder_dir: Path, encoder: Ct2File, decoder_file: Path) -> None:
    """Refuse a decoder of another model than the one whose decoder the CTranslate2 file holds, too."""
    dimensions = encoder.dimensions()
    sizes, norm = _pt_sizes(decoder_file) if decoder_file.suffix == ".pt" else _header_sizes(decoder_file)
    ours, theirs = encoder_dir.name, f"{decoder_file.parent.name}/{decoder_file.name}"
    differences = [
        f"the {what} is {here} in {ours}, {there} in {decoder_file.parent.name}"
        for what, here, there in (
            ("width", dimensions.n_audio_state, sizes.width),
            ("vocabulary size", dimensions.n_vocab, sizes.vocab),
            ("number of decoder layers", dimensions.n_text_layer, sizes.layers),
            ("text context", dimensions.n_text_ctx, sizes.context),
        )
        if here != there
    ]
    if not differences and _unlike(encoder, norm):
        differences.append("their sizes agree, but the decoder inside model.bin has other weights")
    if differences:
        name = _short_name(encoder_dir)
        target = decoder_file.parent.parent / (DECODER_PREFIX + name)
        raise ApplianceError(
            f"encoder {ours} and decoder {theirs} are of different models: {'; '.join(differences)}",
            f"copy the decoder of {name!r} ({name}.pt, or a baked {DECODER_PREFIX}{name}) into {target}, "
            f"or make both with: wlk-appliance bake {name}",
            code="mismatched_pair",
        )


def _unlike(encoder: Ct2File, norm: NDArray[Any] | None) -> bool:
    """Whether a decoder's last normalization is not that of the CTranslate2 file's own decoder.

    Models of equal sizes (large-v1 and large-v2) can be told apart by it, and no conversion changes it
    by more than the rounding of its float type.
    """
    if norm is None or encoder.variable(_NORM_CT2).dtype not in ("float16", "float32"):
        return False
    ours = encoder.array(_NORM_CT2).astype(np.float32)
    if ours.shape != norm.shape:
        return True
    return bool(np.linalg.norm(ours - norm.astype(np.float32)) > _ROUNDING * np.linalg.norm(ours))


def _pt_sizes(decoder_file: Path) -> tuple[_TextSizes, NDArray[Any]]:
    from appliance.pair.checkpoint import open_checkpoint  # imports torch, which our own files don't need

    checkpoint = open_checkpoint(decoder_file, with_encoder=False)
    said = checkpoint.dimensions
    sizes = _TextSizes(said.n_text_state, said.n_vocab, said.n_text_ctx, said.n_text_layer)
    return sizes, checkpoint.weights[f"decoder.{_NORM}"].float().numpy()


def _header_sizes(decoder_file: Path) -> tuple[_TextSizes, NDArray[Any] | None]:
    shapes = read_header(decoder_file)
    layers = 0
    while f"blocks.{layers}.attn.query.weight" in shapes:
        layers += 1
    tokens, positions = shapes.get("token_embedding.weight", ()), shapes.get("positional_embedding", ())
    if layers and len(tokens) == 2 and len(positions) == 2:
        sizes = _TextSizes(width=tokens[1], vocab=tokens[0], context=positions[0], layers=layers)
        if shapes == decoder_shapes(_text_dimensions(sizes)):
            return sizes, read_weight(decoder_file, _NORM)
    raise ApplianceError(
        f"{decoder_file} is not a Whisper decoder: its {len(shapes)} weights do not have the expected names and shapes",
        "bake the pair again, or copy the file again",
        code="broken_model",
    )


def _text_dimensions(sizes: _TextSizes) -> Dimensions:
    return Dimensions(
        n_mels=0,
        n_audio_ctx=0,
        n_audio_state=sizes.width,
        n_audio_head=0,
        n_audio_layer=0,
        n_vocab=sizes.vocab,
        n_text_ctx=sizes.context,
        n_text_state=sizes.width,
        n_text_head=0,
        n_text_layer=sizes.layers,
    )


def find_record(encoder_dir: Path, decoder_dir: Path) -> PairRecord | None:
    """The ``pair.json`` beside the two folders, where it is about them.

    Raises:
        ApplianceError: it can't be read.
    """
    path = encoder_dir.parent / RECORD_NAME
    if encoder_dir.parent != decoder_dir.parent or not path.is_file():
        return None
    record = read_record(path)
    return record if encoder_dir.name == f"{ENCODER_PREFIX}{record.name}" else None


def _short_name(encoder_dir: Path) -> str:
    return encoder_dir.name.removeprefix(ENCODER_PREFIX)
