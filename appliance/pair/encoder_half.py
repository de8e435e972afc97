"""A CTranslate2 Whisper model without the decoder's weights.

Text is decoded by PyTorch; CTranslate2's own decoder only takes up memory (72 of 111 MB for `base` in int8) where no
beam search is wanted. CTranslate2 builds both halves, so one layer and a few words are left of the decoder.
"""

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from appliance.pair.ct2_file import BINARY_VERSION, SPEC_NAME, TYPES, Ct2File, Variable, open_ct2

_KEPT_WORDS = 8
_EMBEDDINGS = "decoder/embeddings/weight"
_NOT_KEPT = "decoder/layer_"
_KEPT = ("decoder/layer_0/", "decoder/layer_norm/")
_SHARED_MEMORY = "/dev/shm"


@contextmanager
def encoder_half(directory: Path) -> Iterator[Path]:
    """A folder that loads like ``directory``, for as long as the context lasts.

    What the model encodes is the same to the bit; what it decodes is senseless. Its weights are in memory: CTranslate2
    can load from bytes too, but keeps them; and a container's root is often read-only.

    Raises:
        ApplianceError: ``model.bin`` is missing or not a CTranslate2 Whisper model.
        OSError: no folder can be made for links.
    """
    links = _SHARED_MEMORY if os.access(_SHARED_MEMORY, os.W_OK | os.X_OK) else None
    with (
        open_ct2(directory / "model.bin") as model,
        os.fdopen(os.memfd_create("model.bin"), "wb") as file,
        TemporaryDirectory(prefix="wlk-encoder-", dir=links) as made,
    ):
        for part in _parts(model):
            file.write(part)
        file.flush()
        folder = Path(made)
        (folder / "model.bin").symlink_to(f"/proc/self/fd/{file.fileno()}")
        for path in directory.glob("*.json"):
            (folder / path.name).symlink_to(path.resolve())
        yield folder


def _parts(model: Ct2File) -> Iterator[bytes]:
    kept = [
        variable
        for name, variable in model.variables.items()
        if not name.startswith(_NOT_KEPT) or name.startswith(_KEPT)
    ]
    yield struct.pack("<I", BINARY_VERSION) + _text(SPEC_NAME) + struct.pack("<II", model.revision, len(kept))
    for variable in kept:
        yield from _variable(model, variable)
    names = {variable.name for variable in kept}
    aliases = [(alias, target) for alias, target in model.aliases.items() if target in names]
    yield struct.pack("<I", len(aliases))
    for alias, target in aliases:
        yield _text(alias) + _text(target)


def _variable(model: Ct2File, variable: Variable) -> Iterator[bytes]:
    shape, size = variable.shape, variable.size
    if variable.name == _EMBEDDINGS:
        words = min(_KEPT_WORDS, shape[0])
        shape, size = (words, *shape[1:]), size // shape[0] * words
    yield _text(variable.name)
    yield struct.pack(f"<B{len(shape)}IBI", len(shape), *shape, TYPES.index(variable.dtype), size)
    yield model.stored(variable, size)


def _text(text: str) -> bytes:
    raw = text.encode("ascii") + b"\0"
    return struct.pack("<H", len(raw)) + raw
