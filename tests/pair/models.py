"""Small random Whisper models, in the published layout but a thousandth of the size."""

import base64
import os
import wave
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from appliance.baking.derive import Half, decoder_from_ct2, write_ct2
from appliance.baking.tokenizer_files import read_vocabulary, write_tokenizer_files
from appliance.digest import sha256_file
from appliance.fetch import Artifact
from appliance.manifest import LocalSource, WhisperModel
from appliance.pair.ct2_file import open_ct2
from appliance.pair.decoder_file import FILE_NAME, write_decoder
from appliance.pair.dimensions import Dimensions
from appliance.pair.weight_names import decoder_shapes, encoder_shapes

MERGES = (b" t", b"he", b" the", b"in", b"re", b" a", b"\xe2\x99", b"\xe2\x99\xaa", b" -", b" '")
TOKENS = 256 + len(MERGES)
SMALL = Dimensions(
    n_mels=80,
    n_audio_ctx=100,
    n_audio_state=128,
    n_audio_head=2,
    n_audio_layer=2,
    n_vocab=TOKENS + 99 + 1509,
    n_text_ctx=32,
    n_text_state=128,
    n_text_head=2,
    n_text_layer=3,
)
WIDE = replace(SMALL, n_audio_state=192, n_audio_head=3, n_text_state=192, n_text_head=3)
HEADS = ((1, 0), (2, 1))


def write_ranks(path: Path, tokens: tuple[bytes, ...] = MERGES) -> Path:
    """A ``.tiktoken`` file of all bytes in the order of the published ones, then ``tokens``."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    ranks = [*(bytes([byte]) for byte in (*printable, *others)), *tokens]
    rows = (f"{base64.b64encode(token).decode()} {rank}\n" for rank, token in enumerate(ranks))
    path.write_text("".join(rows), encoding="ascii")
    return path


def make_weights(dimensions: Dimensions, seed: int = 0) -> dict[str, Half]:
    """Random float16 weights under the reference names, normalizations near one."""
    random = np.random.default_rng(seed)
    shapes = {f"encoder.{name}": shape for name, shape in encoder_shapes(dimensions).items()}
    shapes |= {f"decoder.{name}": shape for name, shape in decoder_shapes(dimensions).items()}
    centre = {name: 1.0 if name.endswith(("ln.weight", "ln_post.weight")) else 0.0 for name in shapes}
    return {name: (centre[name] + 0.1 * random.normal(size=shape)).astype(np.float16) for name, shape in shapes.items()}


def save_checkpoint(path: Path, dimensions: Dimensions, weights: dict[str, Half]) -> Path:
    """Save weights the way OpenAI's published checkpoints are laid out."""
    import torch  # a second to load, and these models are a plugin of every test run

    state = {name: torch.from_numpy(half.copy()) for name, half in weights.items()}
    torch.save({"dims": dimensions.as_dict(), "model_state_dict": state}, path)
    return path


def write_pair(root: Path, name: str, dimensions: Dimensions = SMALL, seed: int = 0) -> tuple[Path, Path]:
    """A pair as baked, but without ``pair.json``: its encoder folder and its decoder folder."""
    encoder, decoder = root / f"faster-whisper-{name}", root / f"pytorch-whisper-{name}"
    encoder.mkdir(parents=True)
    decoder.mkdir()
    vocabulary = read_vocabulary(write_ranks(root / "ranks"), dimensions.n_vocab)
    write_ct2(encoder, dimensions, make_weights(dimensions, seed), vocabulary.texts)
    write_tokenizer_files(encoder, vocabulary, dimensions, HEADS)
    write_decoder(decoder / FILE_NAME, decoder_from_ct2(open_ct2(encoder / "model.bin")))
    return encoder, decoder


def write_noise(path: Path, seconds: float = 1.0) -> Path:
    """A 16 kHz WAV of noise: a random model decodes something from anything."""
    samples = np.random.default_rng(7).integers(-8000, 8000, int(16000 * seconds), dtype=np.int16)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(samples.tobytes())
    return path


def model_entry(
    path: Path, kind: str, dimensions: Dimensions = SMALL, name: str = "mini"
) -> tuple[WhisperModel, Artifact]:
    """A manifest entry with one local source, and that source as if fetched."""
    digest, size = sha256_file(path), path.stat().st_size
    source = LocalSource.model_validate(
        {"kind": "local", "path": str(path), "format": kind, "size": size, "sha256": digest}
    )
    model = WhisperModel(
        name=name, licence="MIT", tokenizer="ranks", dimensions=dimensions, alignment_heads=HEADS, sources=(source,)
    )
    return model, Artifact(path, digest, size, kind, source.label)


def save_dangerous(path: Path, marker: Path) -> Path:
    """A ``.pt`` that creates ``marker`` when it is loaded as Python objects."""
    import torch

    torch.save({"dims": SMALL.as_dict(), "model_state_dict": {}, "extra": _Touch(marker)}, path)
    return path


class _Touch:
    def __init__(self, marker: Path) -> None:
        self.marker = str(marker)

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (self.marker,))
