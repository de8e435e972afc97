"""A pair of the real layout whose weights are a few numbers each, so that all of it is what its readers check."""

import io
import json
import struct
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np

from appliance.errors import ApplianceError
from appliance.pair.ct2_file import BINARY_VERSION, SPEC_NAME
from appliance.pair.dimensions import Dimensions
from appliance.pair.encoder_half import encoder_half
from appliance.pair.locate import open_pair
from appliance.pair.record import FileRecord, PairRecord, ProofRecord, SourceRecord, write_record
from appliance.pair.weight_names import decoder_shapes, decoder_stacks, encoder_shapes, encoder_stacks
from tests.fuzz.material import scratch
from tests.fuzz.watch import documented

TINY = Dimensions(
    n_mels=1, n_audio_ctx=2, n_audio_state=2, n_audio_head=1, n_audio_layer=1, n_vocab=3, n_text_ctx=2, n_text_state=2,
    n_text_head=1, n_text_layer=2,
)  # fmt: skip
HEADS = ((0, 0), (1, 0))
CODES = (
    "ambiguous_decoder", "broken_model", "mismatched_pair", "missing_alignment_heads", "missing_decoder",
    "missing_encoder", "missing_file", "unsafe_checkpoint",
)  # fmt: skip
_F32, _I8 = 0, 1


def ct2_variable(name: str, shape: tuple[int, ...], kind: int, data: bytes) -> bytes:
    return ct2_text(name) + struct.pack(f"<B{len(shape)}IBI", len(shape), *shape, kind, len(data)) + data


def ct2_text(text: str) -> bytes:
    return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"


def ct2_file(variables: Mapping[str, bytes], spec: str = SPEC_NAME, aliases: Mapping[str, str] | None = None) -> bytes:
    """A ``model.bin`` of variables as `ct2_variable` makes them."""
    head = struct.pack("<I", BINARY_VERSION) + ct2_text(spec) + struct.pack("<II", 3, len(variables))
    named = b"".join(ct2_text(alias) + ct2_text(name) for alias, name in (aliases or {}).items())
    return head + b"".join(variables.values()) + struct.pack("<I", len(aliases or {})) + named


@cache
def weights() -> dict[str, np.ndarray]:
    shapes = {f"encoder.{name}": shape for name, shape in encoder_shapes(TINY).items()}
    shapes |= {f"decoder.{name}": shape for name, shape in decoder_shapes(TINY).items()}
    return {name: np.ones(shape, np.float32) for name, shape in shapes.items()}


@cache
def model_bin() -> bytes:
    """With the names that every Whisper model of CTranslate2 has."""
    given = weights()
    rows = {}
    for stack in (*encoder_stacks(TINY), *decoder_stacks(TINY)):
        like = next(given[part] for part in stack.parts if part)
        data = np.concatenate([np.zeros_like(like) if part is None else given[part] for part in stack.parts])
        rows[stack.ct2] = ct2_variable(stack.ct2, data.shape, _F32, data.astype("<f4").tobytes())
    for half in ("encoder", "decoder"):
        rows[f"{half}/num_heads"] = ct2_variable(f"{half}/num_heads", (), _I8, b"\1")
    return ct2_file(rows, aliases={"decoder/projection/weight": "decoder/embeddings/weight"})


@cache
def decoder_file() -> bytes:
    from safetensors.numpy import save

    return save(
        {name.removeprefix("decoder."): each for name, each in weights().items() if name.startswith("decoder.")}
    )


@cache
def checkpoint(zipped: bool = True) -> bytes:
    import torch

    out = io.BytesIO()
    state = {name: torch.from_numpy(each) for name, each in weights().items() if name.startswith("decoder.")}
    content = {"dims": TINY.as_dict(), "model_state_dict": state}
    torch.save(content, out, _use_new_zipfile_serialization=zipped)
    return out.getvalue()


@cache
def pair_json() -> bytes:
    path = scratch() / "written.json"
    write_record(
        path,
        PairRecord(
            name="mini", dimensions=TINY, alignment_heads=HEADS, licence="MIT",
            source=SourceRecord("index", "a", "ct2", 3, "0" * 64), tokenizer_sha256="1" * 64,
            files=(FileRecord("faster-whisper-mini/model.bin", 3, "2" * 64),),
            proof=ProofRecord("3" * 64, "decoder", 5, None, 1e-3, 1e-2), tools={"numpy": "2"},
        ),
    )  # fmt: skip
    return path.read_bytes()


@cache
def pair_with(name: str, decoder: str = "decoder.safetensors") -> Path:
    """The folder of a whole pair, whose file ``name`` will be written anew for each input."""
    folder = scratch() / name.replace("/", "-")
    encoder, own = folder / "faster-whisper-mini", folder / "pytorch-whisper-mini"
    encoder.mkdir(parents=True)
    own.mkdir()
    (encoder / "model.bin").write_bytes(model_bin())
    (encoder / "config.json").write_text(json.dumps({"alignment_heads": HEADS}))
    (encoder / "tokenizer.json").write_text("{}")
    (encoder / "vocabulary.json").write_text("[]")
    (own / decoder).write_bytes(decoder_file() if decoder == "decoder.safetensors" else checkpoint())
    return folder


def opened(name: str, data: bytes, decoder: str = "decoder.safetensors") -> bool:
    """Whether a pair with this file is taken, and can be halved; with all that is refused as documented."""
    folder = pair_with(name, decoder)
    file = folder / name
    file.write_bytes(data)
    try:
        pair = open_pair(folder / "faster-whisper-mini", folder / "pytorch-whisper-mini")
        with encoder_half(pair.encoder_dir):
            pass
    except ApplianceError as error:
        documented(error, CODES)
        return False
    return True
